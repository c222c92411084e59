"""Reading mountinfo, and what is said of a mountpoint that will not do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sftpfs.errors import Failure, MountError
from sftpfs.host import mountpoint
from sftpfs.host.mountpoint import MountedAt, check_mountpoint, mounted_at, parse_mountinfo

TEXT = r"""
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 21 0:39 / /mnt/a\040b\134c rw,nosuid master:3 - fuse.sftpfs joe@host:a\040b rw,user_id=1000,group_id=5
41 21 0:40 /part /mnt/x rw - fuse.sftpfs  rw
short line
"""
USERS = ("rw", "nosuid", "rw", "user_id=1000", "group_id=5")


def test_parse_mountinfo() -> None:
    assert parse_mountinfo(TEXT) == [
        MountedAt("8:1", "/", "ext4", "/dev/sda1", 21, "/", 0, 1, ("rw", "relatime", "rw")),
        MountedAt("0:39", r"/mnt/a b\c", "fuse.sftpfs", "joe@host:a b", 40, "/", 1000, 21, USERS),
        MountedAt("0:40", "/mnt/x", "fuse.sftpfs", "", 41, "/part", 0, 21, ("rw", "rw")),
    ]


def test_this_machine_has_proc_mounted() -> None:
    found = mounted_at("/proc")
    assert found is not None
    assert found.type == "proc"
    assert mounted_at("/proc/no/such/place") is None


@pytest.mark.parametrize(
    ("name", "part"), [("gone", "does not exist; make it with"), ("file", "is not a directory")]
)
def test_unfit_mountpoints(tmp_path: Path, name: str, part: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MountError) as caught:
        check_mountpoint(str(tmp_path / name), "host:", "sftpfs")
    assert caught.value.failure is Failure.MOUNTPOINT
    assert part in caught.value.message
    assert str(tmp_path / name) in caught.value.message


def test_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MountError, match="is not a directory"):
        check_mountpoint(str(tmp_path / "file" / "x"), "host:", "sftpfs")


def test_a_directory_will_do_even_with_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    opened = check_mountpoint(str(tmp_path), "host:", "sftpfs")
    assert os.path.samestat(os.fstat(opened), tmp_path.stat())
    os.close(opened)


def test_a_root_that_is_no_mountpoint_has_a_file_system_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mountpoint, "all_mounts", list)
    device = tmp_path.stat().st_dev
    assert mountpoint.filesystem_of(str(tmp_path)) == f"{os.major(device)}:{os.minor(device)}"
