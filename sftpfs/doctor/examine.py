"""The whole of ``sftpfs doctor``: each finding is printed when it is made."""

from __future__ import annotations

import os

import trio

from sftpfs.config import MountConfig
from sftpfs.doctor.findings import Finding, Verdict, bad
from sftpfs.doctor.machine import examine_machine
from sftpfs.doctor.server import connected, examine_server
from sftpfs.errors import Failure, MountError
from sftpfs.logs import printable
from sftpfs.process import exit_status, leaves
from sftpfs.transport.prompter import make_prompter


def examine(config: MountConfig | None) -> int:
    """Examine this machine, and the server of ``config`` where there is one; the exit status."""
    status = 0
    for finding in examine_machine():
        _show(finding)
        if finding.verdict is Verdict.BAD:
            status = exit_status(Failure.FUSE)
    if config is None:
        return status
    try:
        return trio.run(_examine_server, config) or status
    except BaseExceptionGroup as group:
        for error in leaves(group):
            if isinstance(error, MountError):
                _show(bad(error.message))
                return exit_status(error.failure)
        raise


async def _examine_server(config: MountConfig) -> int:
    status = 0
    async with connected(config, make_prompter(os.environ)) as connection:
        async for finding in examine_server(config, connection):
            _show(finding)
            if finding.verdict is Verdict.BAD:
                status = exit_status(Failure.REMOTE_DIRECTORY)
    return status


def _show(finding: Finding) -> None:
    for line in finding.lines():
        print(printable(line), flush=True)
