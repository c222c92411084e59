"""The core of what a mount does, on servers that are not OpenSSH's or do less than it can."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

import pytest

from tests.harness.kernel import fails_with
from tests.harness.mounts import Mount
from tests.other_servers import SERVERS, Options

pytestmark = pytest.mark.limit(60)

WITHOUT_LINKS = {"openssh-P", "openssh-p"}
"""Servers without hardlink@openssh.com."""

WITHOUT_STATVFS = {"openssh-P", "openssh-p"}

WITHOUT_LSETSTAT = {"openssh-P", "openssh-p"}

FOLLOWING_LINKS = {"proftpd"}
"""Servers whose LSTAT follows a link."""


class There:
    """``here`` as mounted, ``there`` as the server has it; ``name`` of the server."""

    def __init__(self, name: str, mount: Mount) -> None:
        self.name = name
        self.here = mount.path
        self.there = mount.backing


@pytest.fixture(scope="module", params=list(SERVERS))
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    directory = tmp_path_factory.mktemp(request.param)
    backing = directory / "backing"
    backing.mkdir()
    server = cast(AbstractContextManager[Options], SERVERS[request.param](directory / "server"))
    with server as options:
        mount = Mount(
            f"root@127.0.0.1:{backing}", directory / "mnt", backing, [*options, "negative_timeout=0"]
        )
        yield There(request.param, mount)
        mount.close()


def test_content_goes_both_ways(there: There) -> None:
    data = random.Random(1).randbytes(9_000_001)
    (there.here / "out").write_bytes(data)
    assert (there.there / "out").read_bytes() == data
    (there.there / "in").write_bytes(data)
    assert (there.here / "in").read_bytes() == data


def test_parts_of_files(there: There) -> None:
    path = there.here / "parts"
    path.write_bytes(b"0123456789")
    with open(path, "r+b") as file:
        file.seek(4)
        file.write(b"xy")
    with open(path, "ab") as file:
        file.write(b"END")
    os.truncate(path, 12)
    assert (there.there / "parts").read_bytes() == b"0123xy6789EN"
    os.truncate(path, 20)
    assert path.read_bytes() == b"0123xy6789EN" + bytes(8)
    with open(path, "wb") as file:
        file.write(b"new")
    assert (there.there / "parts").read_bytes() == b"new"


def test_exclusive_creation(there: There) -> None:
    os.close(os.open(there.here / "once", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    with pytest.raises(FileExistsError):
        os.open(there.here / "once", os.O_CREAT | os.O_EXCL | os.O_WRONLY)


def test_directories(there: There) -> None:
    (there.there / "d").mkdir()
    for number in range(300):
        (there.there / "d" / f"f{number}").touch()
    assert sorted(os.listdir(there.here / "d")) == sorted(os.listdir(there.there / "d"))
    with pytest.raises(OSError) as caught:
        (there.here / "d").rmdir()
    assert caught.value.errno == errno.ENOTEMPTY
    with pytest.raises(FileExistsError):
        (there.here / "d").mkdir()
    for number in range(300):
        (there.here / "d" / f"f{number}").unlink()
    (there.here / "d").rmdir()
    assert not (there.there / "d").exists()
    (there.here / "made").mkdir(mode=0o750)
    assert (there.there / "made").stat().st_mode & 0o7777 == 0o750
    with pytest.raises(FileNotFoundError):
        (there.here / "none" / "x").stat()


def test_rename_replaces(there: There) -> None:
    (there.here / "old").write_text("old")
    (there.here / "new").write_text("new")
    (there.here / "new").replace(there.here / "old")
    assert (there.there / "old").read_text() == "new"
    assert not (there.there / "new").exists()
    assert not [name for name in os.listdir(there.there) if name.startswith(".")]


def test_attributes(there: There) -> None:
    path = there.here / "attributes"
    path.write_text("x")
    path.chmod(0o640)
    os.utime(path, (1_000_000_000, 1_100_000_000))
    seen = (there.there / "attributes").stat()
    assert (seen.st_mode & 0o7777, seen.st_atime, seen.st_mtime) == (0o640, 1e9, 1.1e9)
    shown = path.stat()
    assert (shown.st_mode & 0o7777, shown.st_mtime, shown.st_size) == (0o640, 1.1e9, 1)


def test_symbolic_links(there: There) -> None:
    (there.here / "target").write_text("t")
    if there.name in FOLLOWING_LINKS:
        with pytest.raises(OSError) as caught:  # the kernel does not take a file for a link it made
            (there.here / "link").symlink_to("target")
        assert caught.value.errno == errno.EIO
    else:
        (there.here / "link").symlink_to("target")
        assert os.readlink(there.here / "link") == "target"
    assert os.readlink(there.there / "link") == "target"
    assert (there.here / "link").read_text() == "t"


def test_changes_of_a_link_never_touch_its_target(there: There) -> None:
    """Without lsetstat@openssh.com they are refused."""
    (there.there / "pointee").write_text("p")
    os.utime(there.there / "pointee", (1_000_000_000, 1_000_000_000))
    os.symlink("pointee", there.there / "pointer")
    before = os.stat(there.there / "pointee")
    if there.name in FOLLOWING_LINKS:
        assert not (there.here / "pointer").is_symlink()  # no program can mean the link
        return
    for change in (
        lambda: os.utime(there.here / "pointer", (1, 2), follow_symlinks=False),
        lambda: os.lchown(there.here / "pointer", 5, 6),
    ):
        if there.name in WITHOUT_LSETSTAT:
            with fails_with(errno.EOPNOTSUPP):
                change()
        else:
            change()
    after = os.stat(there.there / "pointee")
    assert (after.st_uid, after.st_gid, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_uid,
        before.st_gid,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


def test_hard_links_or_a_clear_refusal(there: There) -> None:
    (there.here / "one").write_text("1")
    if there.name in WITHOUT_LINKS:
        with pytest.raises(OSError) as caught:
            os.link(there.here / "one", there.here / "two")
        assert caught.value.errno == errno.EPERM
    else:
        os.link(there.here / "one", there.here / "two")
        assert (there.there / "two").stat().st_nlink == 2


def test_a_file_unlinked_while_open(there: There) -> None:
    with open(there.here / "gone", "w+b") as file:
        file.write(b"still here")
        (there.here / "gone").unlink()
        assert not (there.there / "gone").exists()
        file.seek(0)
        assert file.read() == b"still here"


def test_fsync_and_statvfs(there: There) -> None:
    with open(there.here / "synced", "wb") as file:
        file.write(b"s")
        file.flush()
        os.fsync(file.fileno())
        assert (there.there / "synced").read_bytes() == b"s"
    assert (os.statvfs(there.here).f_blocks == 0) == (there.name in WITHOUT_STATVFS)


def test_odd_names(there: There) -> None:
    for name in ("with blank", "ü", "a\\b", "quo'te", "-dash", "new\nline"):
        (there.here / name).write_text(name)
        assert (Path(os.fsdecode(os.fsencode(there.there))) / name).read_text() == name
        assert name in os.listdir(there.here)
