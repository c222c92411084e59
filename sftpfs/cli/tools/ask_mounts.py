"""Asks one mount, or all of the user's, one question. For ``status`` and ``stats``."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from sftpfs.control.client import Client, connect, connect_to
from sftpfs.control.protocol import Values
from sftpfs.control.socket_location import our_mounts
from sftpfs.errors import Failure, MountError
from sftpfs.host.daemon import exit_status, to_stderr
from sftpfs.host.mountpoint import MountedAt

AT_ONCE = 16
"""Mounts asked at the same time: more than anybody has, and one that is stuck delays no other."""

PATIENCE = 10.0
"""Seconds that a mount has to answer a quick request; after that it counts as stuck."""


def ask(name: str, path: str | None) -> tuple[list[Values], int]:
    """The answers to request ``name``, by mountpoint, and the exit status.

    With ``path`` asks the mount that it is in, and raises MountError. Without it asks all mounts. If one
    gives no answer, stderr says why, unless the mount ended meanwhile.
    """
    if path:
        client, _ = connect_to(path, PATIENCE)
        with client:
            return [_asked(client, name)], 0
    mounts, answers = _ask_all(name)
    if any(isinstance(answer, MountError) for answer in answers):
        there = {mount.device for mount in our_mounts()}
        answers = [
            answer
            for mount, answer in zip(mounts, answers, strict=True)
            if mount.device in there or not isinstance(answer, MountError)
        ]
    found, status = [], 0
    for answer in answers:
        if isinstance(answer, MountError):
            to_stderr(answer.message)
            status = exit_status(Failure.COMMAND)
        else:
            found.append(answer)
    return found, status


def whoever_answers(name: str) -> list[Values]:
    """The answers to request ``name`` of all of the user's mounts that give one."""
    return [answer for answer in _ask_all(name)[1] if not isinstance(answer, MountError)]


def _ask_all(name: str) -> tuple[list[MountedAt], list[Values | MountError]]:
    mounts = our_mounts()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return mounts, list(threads.map(lambda mount: _ask(mount, name), mounts))


def _ask(mount: MountedAt, name: str) -> Values | MountError:
    try:
        with connect(mount, PATIENCE) as client:
            return _asked(client, name)
    except MountError as error:
        return error


def _asked(client: Client, name: str) -> Values:
    """The answer. The kernel says where another user's mount is, so that it cannot pass for one of ours."""
    values, mount = client.ask(name), client.mount
    return values if mount.user_id == os.geteuid() else {**values, "mountpoint": mount.path}
