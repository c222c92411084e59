"""Examines a server: login, directory, extensions, limits, what the account may do, distance and speed.

Uses one connection and one SFTP session. Makes a temporary file if the account may, and removes it.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from sftpfs.config import MountConfig
from sftpfs.doctor import speed
from sftpfs.doctor.findings import Finding, bad, good, note
from sftpfs.doctor.server_trial import Trial, means
from sftpfs.errors import Status, StatusError
from sftpfs.mount.remote_root import home_relative
from sftpfs.remote.pool.connection import Connection, Role, open_connection
from sftpfs.remote.requests.stat_request import canonical_path, of_directory
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp import extensions
from sftpfs.sftp.session import Session
from sftpfs.transport.api import Prompter
from sftpfs.transport.connector import make_connector
from sftpfs.transport.messages import HostKey
from sftpfs.types import Limits, OpenFlags

CREATE_NEW = OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE

FAR = 0.1
"""Seconds of round trip beyond which longer leases are worth a stale answer."""

SLOW = 2_000_000
"""Bytes a second below which compression costs less than it saves."""

WITHOUT = {
    extensions.POSIX_RENAME: "replacing a file by rename is not atomic",
    extensions.STATVFS: "df shows nothing, and a full disk is reported as an input/output error",
    extensions.HARDLINK: "hard links cannot be made",
    extensions.FSYNC: "fsync waits for the server's answer, not for its disk",
    extensions.LSETSTAT: "times and owners of symbolic links cannot be set",
    extensions.LIMITS: "requests are of 32 KiB; max_read= and max_write= may raise that to 65536",
}
"""What the lack of each extension means."""

WRITING = (extensions.POSIX_RENAME, extensions.HARDLINK, extensions.FSYNC, extensions.LSETSTAT)
"""Not offered by OpenSSH to an account that may only read (``sftp-server -R``)."""

Report = AsyncIterator[Finding]


@asynccontextmanager
async def connected(config: MountConfig, prompter: Prompter) -> AsyncIterator[Connection]:
    """A session to the server of ``config``. Raises MountError.

    A host key that nobody confirmed is not written into known_hosts: otherwise the next examination, and the
    mount, would take it for known.
    """
    transport_config = replace(config.transport, keep_taken_keys=False)
    async with trio.open_nursery() as nursery:
        connector = make_connector(transport_config, config.endpoint, prompter, nursery)
        try:
            transport = await connector.connect(interactive=prompter.available)
            try:
                traits = ServerTraits(report=lambda _: None)  # the findings tell it
                connection = await open_connection(transport, Role.METADATA, 1, config.pool, traits=traits)
                nursery.start_soon(connection.session.run)
                yield connection
                connection.session.close("the examination is over")
            finally:
                transport.close()
        finally:
            with trio.CancelScope(shield=True):
                await connector.aclose()
            nursery.cancel_scope.cancel()


async def examine_server(config: MountConfig, connection: Connection, tries: bool) -> Report:
    """Every finding about the server. ``tries``: also what can only be found out with files made there."""
    if connection.transport.about:
        yield good(f"logged in as {connection.transport.about}")
    if connection.transport.host_key is not None:
        yield _host_key(connection.transport.host_key)
    session = connection.session
    yield _extensions(session)
    yield _limits(session)
    directory = home_relative(config.endpoint.directory)
    try:
        path = await canonical_path(session, directory)
        attributes = await of_directory(session, path)
    except OSError as error:
        shown = directory.decode(errors="backslashreplace")
        yield bad(f"the directory {shown} cannot be used: {error.strerror}")
        return
    if not stat.S_ISDIR(attributes.mode):
        yield bad(f"{path.decode(errors='backslashreplace')} is not a directory")
        return
    async for finding in _directory(session, path):
        yield finding
    async for finding in _measured(session, path):
        yield finding
    async for finding in _traits(session, path, tries):
        yield finding


async def _traits(session: Session, path: bytes, tries: bool) -> Report:
    """How the server behaves where servers differ: as it says, or as it is found."""
    if not tries:
        for finding in means(session.traits, tried=False):
            yield finding
        return
    try:
        async for finding in Trial(session, path).run():
            yield finding
    except OSError as error:
        yield note(f"nothing was tried there: {error.strerror}")


def _host_key(judged: HostKey) -> Finding:
    if judged is HostKey.TAKEN:
        return note(
            "nobody checks who this server is: its host key is not known, and was accepted unseen",
            "compare its fingerprint with that of ssh-keygen -l on the server, and keep it in known_hosts",
        )
    return good(
        {
            HostKey.KNOWN: "the host key is the one known",
            HostKey.CERTIFIED: "the host key is signed by an authority that is known",
            HostKey.CONFIRMED: "the host key is the one you accepted",
        }[judged]
    )


def _extensions(session: Session) -> Finding:
    missing = [text for name, text in WITHOUT.items() if not session.capabilities.has(name)]
    if not missing:
        return good("the server offers every extension of SFTP that matters")
    return note("the server lacks extensions of SFTP", "; ".join(missing))


def _limits(session: Session) -> Finding:
    limits = session.capabilities.limits
    text = f"one request reads up to {limits.read_size} bytes and writes up to {limits.write_size}"
    if limits.open_handles:
        text += f"; {limits.open_handles} files may be open at once"
    small = min(limits.read_size, limits.write_size) < Limits().read_size
    return note(text, "the server wants small requests, which costs speed") if small else good(text)


async def _directory(session: Session, path: bytes) -> Report:
    shown = path.decode(errors="backslashreplace")
    try:
        handle = await session.start_opendir(path).wait()
        session.start_close(handle)
    except OSError as error:
        yield note(f"{shown} cannot be listed: {error.strerror}", "names in it work where you know them")
    home = await canonical_path(session, b".")
    if home == b"/":
        yield note(
            f"the account starts in /, and {shown} is the directory: it may be confined (chroot) there",
            "absolute paths and links of the server's own tree do not lead anywhere",
        )


async def _measured(session: Session, path: bytes) -> Report:
    """What the account may do there, how far it is and how fast."""
    round_trip = await speed.round_trip(session, path)
    far = round_trip >= FAR
    yield good(
        f"a round trip takes {round_trip * 1000:.1f} ms",
        "attributes may be kept longer: cache_timeout=60" if far else "",
    )
    name = os.path.join(path, b".sftpfs-doctor-" + secrets.token_hex(4).encode())
    refused: StatusError | None = None
    try:
        handle = await session.start_open(name, CREATE_NEW, 0o600).wait()
    except StatusError as failed:
        yield await _not_writable(session, failed, path)
        return
    except trio.Cancelled:
        await _removed(session, name)  # it may be there, its reply was not waited for
        raise
    try:
        written = await speed.write(session, handle)
        read = await speed.read(session, name)
        slow = min(written, read) < SLOW
        yield good(
            f"writes {written / 1e6:.1f} MB/s and reads {read / 1e6:.1f} MB/s over one connection",
            "compression may help with text: -C" if slow else "",
        )
    except StatusError as failed:
        refused = failed
    finally:
        session.start_close(handle)
        await _removed(session, name)
    if refused is not None:
        yield note(
            f"files can be made there, but not written or read: the server answered {refused.strerror!r} "
            "(a request denied with sftp-server -P?)",
            "mount with -o ro",
        )
    else:
        yield good("files can be made, written, read and removed there")


async def _removed(session: Session, name: bytes) -> None:
    with trio.CancelScope(shield=True):
        try:
            await session.start_remove(name).wait()
        except OSError:
            pass  # nothing more can be done; its name says what it is


async def _not_writable(session: Session, failed: StatusError, path: bytes) -> Finding:
    shown = path.decode(errors="backslashreplace")
    if failed.status != Status.PERMISSION_DENIED:
        return note(f"no file can be made in {shown}: {failed.strerror}", "mount with -o ro")
    offered = session.capabilities
    if offered.has(extensions.STATVFS) and not any(offered.has(name) for name in WRITING):
        return note(
            "the account is read-only: the server denies every request that changes something "
            "(sftp-server -R)",
            "mount with -o ro, so that programs are told so at once",
        )
    return note(
        f"you have no permission to make files in {shown}",
        "where you only read, mount with -o ro; else mount another directory, or ask for permission",
    )
