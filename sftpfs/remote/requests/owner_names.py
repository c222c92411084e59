"""The server's names of owners and groups: asked for by id, or read from a listing.

Used by ``remote.client`` only. ``vfs`` decides what names mean here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sftpfs.errors import StatusError
from sftpfs.remote.slots import handle_or_close, retry_after_misprediction
from sftpfs.sftp import extensions
from sftpfs.sftp.session import Session
from sftpfs.types import UNKNOWN_ID, OwnerNames

READDIRS = 64
"""READDIR replies searched for names, of 100 lines each with OpenSSH. An owner who is in none of so many
lines is left without a name."""

LONGEST_NAME = 256
"""Bytes; useradd(8) allows 32, directories of large firms more."""


async def owner_names(session: Session, uids: Sequence[int], gids: Sequence[int], near: bytes) -> OwnerNames:
    """As ``Remote.owner_names``. Raises StatusError, SessionLostError."""
    if session.capabilities.has(extensions.USERS_GROUPS_BY_ID):
        users, groups = await session.start_users_groups_by_id(uids, gids).wait()
        # A list shorter than requested names the first ones; nothing is known of the others.
        return OwnerNames(_named(uids, users), _named(gids, groups))
    return await retry_after_misprediction(session, partial(_listed, session, set(uids), set(gids), near))


def _named(ids: Sequence[int], names: Sequence[bytes]) -> dict[int, bytes]:
    return {number: name for number, name in zip(ids, names, strict=False) if _plausible(name)}


def _plausible(name: bytes) -> bool:
    return 0 < len(name) <= LONGEST_NAME and b"\0" not in name and not name.isdigit()


async def _listed(session: Session, uids: set[int], gids: set[int], near: bytes) -> OwnerNames:
    """What the lines of directory ``near`` tell; several waits, until all are found or it ends."""
    handle = await handle_or_close(session, session.start_opendir(near))
    found = OwnerNames({}, {})
    uids.discard(UNKNOWN_ID)
    gids.discard(UNKNOWN_ID)
    try:
        for _ in range(READDIRS):
            for user, group, attributes in await session.start_owner_lines(handle).wait():
                if attributes.uid in uids and _plausible(user):
                    found.users[attributes.uid] = user
                if attributes.gid in gids and _plausible(group):
                    found.groups[attributes.gid] = group
            if found.users.keys() == uids and found.groups.keys() == gids:
                break
    except StatusError:
        pass  # the end, or no more to be had
    finally:
        if session.closed_error is None:
            session.start_close(handle)
    return found
