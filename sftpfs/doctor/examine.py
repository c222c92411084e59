"""The whole of ``sftpfs doctor``: prints each finding when it is made."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import trio

from sftpfs.config import MountConfig
from sftpfs.doctor.findings import Finding, Verdict, bad
from sftpfs.doctor.machine_checks import examine_machine
from sftpfs.doctor.server_checks import connected, examine_server
from sftpfs.errors import Failure, MountError
from sftpfs.host.daemon import exit_status, leave_no_core, leaves
from sftpfs.host.interrupts import Interrupts, heeded
from sftpfs.host.logs import printable
from sftpfs.transport.prompter import make_prompter


def examine(config: MountConfig | None, tries: bool = False) -> int:
    """Examines this machine, and the server of ``config`` if there is one. Returns the exit status.
    ``tries``: with files made on the server, and removed."""
    status = 0
    for finding in examine_machine():
        _show(finding)
        if finding.verdict is Verdict.BAD:
            status = exit_status(Failure.FUSE)
    if config is None:
        return status
    if not config.debug:
        leave_no_core()
    try:
        with Interrupts() as interrupts:
            return trio.run(_examine_server, config, tries, interrupts) or status
    except BaseExceptionGroup as group:
        for error in leaves(group):
            if isinstance(error, MountError):
                _show(bad(error.message))
                return exit_status(error.failure)
        raise


async def _examine_server(config: MountConfig, tries: bool, interrupts: Interrupts) -> int:
    """A signal cuts it short, and ``interrupts`` then knows of it; what was made on the server is removed."""
    found: list[int] = []
    with trio.open_signal_receiver(*heeded()) as signals:
        async with trio.open_nursery() as nursery:
            work = Work(interrupts)
            nursery.start_soon(work.end_at, signals)
            if interrupts.came:
                work.end()  # before there was a receiver
            with work.whole:
                found.append(await _findings(config, tries, work))
            nursery.cancel_scope.cancel()
    return found[0] if found else 0


class Work:
    """What a signal ends: everything, or once there is a connection only what is done with it."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self.whole = trio.CancelScope()
        self.examination: trio.CancelScope | None = None

    async def end_at(self, signals: AsyncIterator[int]) -> None:
        """Waits for a signal; later ones have no effect."""
        async for _ in signals:
            self.end()

    def end(self) -> None:
        """Idempotent."""
        self._interrupts.came = True
        (self.examination or self.whole).cancel()


async def _findings(config: MountConfig, tries: bool, work: Work) -> int:
    status = 0
    async with connected(config, make_prompter(os.environ)) as connection:
        with trio.CancelScope() as work.examination:
            async for finding in examine_server(config, connection, tries):
                _show(finding)
                if finding.verdict is Verdict.BAD:
                    status = exit_status(Failure.REMOTE_DIRECTORY)
    return status


def _show(finding: Finding) -> None:
    for line in finding.lines():
        print(printable(line), flush=True)
