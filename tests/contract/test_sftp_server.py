"""Every request of a session against OpenSSH's own sftp-server."""

# Looking at the local directory blocks, and may: nothing else runs in these loops.
# ruff: noqa: ASYNC240

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from sftpfs.errors import Status, StatusError
from sftpfs.sftp import extensions
from sftpfs.sftp.session import Session
from sftpfs.types import UNKNOWN_ID, AttributeChange, DirectoryEntry, OpenFlags
from tests.contract.openssh_server import against_server


async def listing(session: Session, path: bytes) -> list[DirectoryEntry]:
    handle = await session.start_opendir(path).wait()
    entries: list[DirectoryEntry] = []
    while (more := await session.start_readdir(handle).wait()) is not None:
        entries += more
    await session.start_close(handle).wait()
    return entries


def test_the_greeting_learns_extensions_and_limits(tmp_path: Path) -> None:
    async def body(session: Session, _directory: Path) -> None:
        assert session.capabilities.extensions == set(extensions.VERSIONS)
        assert session.capabilities.limits.read_size == 261120
        assert session.capabilities.limits.write_size == 261120
        assert session.capabilities.limits.open_handles > 0

    against_server(tmp_path, body)


def test_attributes_three_ways(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    os.chown(file, 1234, 5678)
    file.chmod(0o640)
    os.utime(file, (1000, 2000))
    (tmp_path / "link").symlink_to("file")

    async def body(session: Session, directory: Path) -> None:
        path = bytes(directory / "file")
        handle = await session.start_open(path, OpenFlags.READ).wait()
        expected = (stat.S_IFREG | 0o640, 5, 1234, 5678, 1000, 2000, UNKNOWN_ID)
        link = bytes(directory / "link")
        for slot in (session.start_lstat(path), session.start_stat(link), session.start_fstat(handle)):
            assert await slot.wait() == expected
        assert stat.S_ISLNK((await session.start_lstat(link).wait()).mode)
        await session.start_close(handle).wait()

    against_server(tmp_path, body)


def test_errors_carry_status_and_errno(tmp_path: Path) -> None:
    async def body(session: Session, directory: Path) -> None:
        missing = bytes(directory / "missing")
        for slot in (
            session.start_lstat(missing),
            session.start_stat(missing),
            session.start_open(missing, OpenFlags.READ),
            session.start_opendir(missing),
            session.start_remove(missing),
            session.start_readlink(missing),
            session.start_statvfs(missing),
        ):
            with pytest.raises(StatusError) as caught:
                await slot.wait()
            assert (caught.value.status, caught.value.errno) == (2, errno.ENOENT)
        with pytest.raises(StatusError) as caught:
            await session.start_close(b"no handle").wait()
        assert caught.value.status == 2  # what OpenSSH says of a handle it does not know

    against_server(tmp_path, body)


def test_write_read_and_end_of_file(tmp_path: Path) -> None:
    content = os.urandom(700_000)

    async def body(session: Session, directory: Path) -> None:
        path = bytes(directory / "file")
        flags = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE
        handle = await session.start_open(path, flags, 0o600).wait()
        size = session.capabilities.limits.write_size
        view = memoryview(content)
        offsets = range(0, len(content), size)
        for slot in [session.start_write(handle, at, view[at : at + size]) for at in offsets]:
            await slot.wait()
        await session.start_fsync(handle).wait()
        file = directory / "file"
        assert file.read_bytes() == content
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        reads = [session.start_read(handle, at, size) for at in offsets]
        assert b"".join([await slot.wait() or b"" for slot in reads]) == content
        assert await session.start_read(handle, len(content), 10).wait() is None
        assert await session.start_read(handle, len(content) - 3, 10).wait() == content[-3:]
        await session.start_close(handle).wait()
        with pytest.raises(StatusError):
            await session.start_open(path, flags, 0o600).wait()

    against_server(tmp_path, body)


def test_open_flags_and_the_servers_mode(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")

    async def body(session: Session, directory: Path) -> None:
        path = bytes(directory / "file")
        handle = await session.start_open(path, OpenFlags.WRITE | OpenFlags.APPEND).wait()
        await session.start_write(handle, 0, b"+new").wait()
        await session.start_close(handle).wait()
        assert (directory / "file").read_bytes() == b"old+new"
        flags = OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.TRUNCATE
        handle = await session.start_open(path, flags).wait()
        await session.start_write(handle, 2, bytearray(b"x")).wait()
        await session.start_close(handle).wait()
        assert (directory / "file").read_bytes() == b"\0\0x"

    against_server(tmp_path, body)


def test_setting_attributes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")

    async def body(session: Session, directory: Path) -> None:
        path, link = bytes(directory / "file"), bytes(directory / "link")
        await session.start_setstat(path, AttributeChange(mode=0o604)).wait()
        await session.start_setstat(path, AttributeChange(uid=11, gid=22)).wait()
        await session.start_setstat(link, AttributeChange(size=3)).wait()
        await session.start_setstat(path, AttributeChange(atime=100, mtime=200)).wait()
        found = file.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_size) == (0o604, 11, 22, 3)
        assert (found.st_atime, found.st_mtime) == (100, 200)
        handle = await session.start_open(path, OpenFlags.WRITE).wait()
        await session.start_fsetstat(handle, AttributeChange(size=9, mode=0o600)).wait()
        await session.start_close(handle).wait()
        assert (file.stat().st_size, stat.S_IMODE(file.stat().st_mode)) == (9, 0o600)
        await session.start_lsetstat(link, AttributeChange(uid=33, gid=44, atime=1, mtime=2)).wait()
        found = os.lstat(link)
        assert (found.st_uid, found.st_gid, found.st_atime, found.st_mtime) == (33, 44, 1, 2)
        assert file.stat().st_uid == 11

    against_server(tmp_path, body)


def test_listing_with_attributes_and_link_counts(tmp_path: Path) -> None:
    names = [b"n%d" % number for number in range(250)] + [
        b"new\nline",
        b"\xff\xfe",
        b" spaces  in it ",
        b"x" * 255,
    ]
    for name in names:
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(name)
    os.link(tmp_path / "n1", tmp_path / "second")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("n1")

    async def body(session: Session, directory: Path) -> None:
        found = {entry.name: entry.attributes for entry in await listing(session, bytes(directory))}
        assert set(found) == {*names, b"second", b"directory", b"link"}
        for name, attributes in found.items():
            there = os.lstat(bytes(directory) + b"/" + name)
            assert attributes is not None
            assert (attributes.mode, attributes.size, attributes.nlink) == (
                there.st_mode,
                there.st_size,
                there.st_nlink,
            )
        assert session.statistics.hostile_names == 0

    against_server(tmp_path, body)


def test_directories_and_names(tmp_path: Path) -> None:
    async def body(session: Session, directory: Path) -> None:
        def path(name: str) -> bytes:
            return bytes(directory / name)

        await session.start_mkdir(path("d"), 0o750).wait()
        assert stat.S_IMODE((directory / "d").stat().st_mode) == 0o750
        await session.start_rename(path("d"), path("e")).wait()
        await session.start_rmdir(path("e")).wait()
        assert not list(directory.iterdir())
        (directory / "a").write_text("a")
        (directory / "b").write_text("b")
        with pytest.raises(StatusError) as caught:
            await session.start_rename(path("a"), path("b")).wait()
        assert caught.value.status == 4
        await session.start_posix_rename(path("a"), path("b")).wait()
        assert (directory / "b").read_text() == "a"
        await session.start_hardlink(path("b"), path("c")).wait()
        assert (directory / "c").stat().st_nlink == 2
        await session.start_remove(path("c")).wait()
        assert [one.name for one in directory.iterdir()] == ["b"]

    against_server(tmp_path, body)


def test_links_and_paths(tmp_path: Path) -> None:
    async def body(session: Session, directory: Path) -> None:
        link = bytes(directory / "link")
        await session.start_symlink(b"../any\xfftarget", link).wait()
        assert os.readlink(link) == b"../any\xfftarget"
        assert await session.start_readlink(link).wait() == b"../any\xfftarget"
        here = bytes(directory.resolve())
        assert await session.start_realpath(b".").wait() == here
        assert await session.start_realpath(here + b"/.//.").wait() == here
        assert await session.start_expand_path(b"~root").wait() == os.path.expanduser(b"~root")
        assert await session.start_home_directory(b"root").wait() == os.path.expanduser(b"~root")

    against_server(tmp_path, body)


def test_filesystem_statistics_equal_the_backing_ones(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def body(session: Session, directory: Path) -> None:
        handle = await session.start_open(bytes(directory / "file"), OpenFlags.READ).wait()
        for slot in (session.start_statvfs(bytes(directory)), session.start_fstatvfs(handle)):
            found = await slot.wait()
            there = os.statvfs(directory)
            assert (found.bsize, found.frsize, found.blocks, found.files, found.namemax) == (
                there.f_bsize,
                there.f_frsize,
                there.f_blocks,
                there.f_files,
                there.f_namemax,
            )
            assert found.read_only == bool(there.f_flag & os.ST_RDONLY)
        await session.start_close(handle).wait()

    against_server(tmp_path, body)


def test_names_of_ids(tmp_path: Path) -> None:
    async def body(session: Session, _directory: Path) -> None:
        found = await session.start_users_groups_by_id([0, 54321], [54321, 0]).wait()
        assert found == ([b"root", b""], [b"", b"root"])

    against_server(tmp_path, body)


def test_copying_on_the_server(tmp_path: Path) -> None:
    (tmp_path / "from").write_bytes(b"0123456789")

    async def body(session: Session, directory: Path) -> None:
        source = await session.start_open(bytes(directory / "from"), OpenFlags.READ).wait()
        flags = OpenFlags.WRITE | OpenFlags.CREATE
        destination = await session.start_open(bytes(directory / "to"), flags, 0o600).wait()
        await session.start_copy_data(source, 2, 5, destination, 1).wait()
        assert (directory / "to").read_bytes() == b"\0" + b"23456"
        try:  # past the end what there is is copied; not every version tells
            await session.start_copy_data(source, 6, 100, destination, 6).wait()
        except StatusError as told:
            assert told.status == Status.EOF
        assert (directory / "to").read_bytes() == b"\0" + b"234566789"
        await session.start_close(source).wait()
        await session.start_close(destination).wait()

    against_server(tmp_path, body)


def test_permission_denied_by_a_read_only_server(tmp_path: Path) -> None:
    async def body(session: Session, directory: Path) -> None:
        with pytest.raises(StatusError) as caught:
            await session.start_mkdir(bytes(directory / "d"), 0o700).wait()
        assert caught.value.errno == errno.EACCES

    against_server(tmp_path, body, "-R")


def test_an_extension_the_server_lacks_is_not_sent(tmp_path: Path) -> None:
    async def body(session: Session, _directory: Path) -> None:
        assert not session.capabilities.has(extensions.FSYNC)
        sent = session.statistics.bytes_sent
        slot = session.start_fsync(b"handle")
        assert slot.done
        with pytest.raises(StatusError) as caught:
            slot.result()
        assert caught.value.errno == errno.EOPNOTSUPP
        assert session.statistics.bytes_sent == sent

    against_server(tmp_path, body, "-P", "fsync,limits")


def test_without_limits_requests_are_32_kib(tmp_path: Path) -> None:
    async def body(session: Session, _directory: Path) -> None:
        limits = session.capabilities.limits
        assert (limits.read_size, limits.write_size) == (32768, 32768)

    against_server(tmp_path, body, "-P", "limits")
