"""PRUNEFS of updatedb.conf: one word comes and goes, and nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sftpfs.cli.tools import updatedb
from sftpfs.errors import MountError

DEBIAN = """PRUNE_BIND_MOUNTS="yes"
# PRUNENAMES=".git .bzr .hg .svn"
PRUNEPATHS="/tmp /var/spool /media"
PRUNEFS="NFS afs fuse.sshfs fusectl usbfs"
"""


def test_the_word_comes_once_and_goes_again(tmp_path: Path) -> None:
    file = tmp_path / "updatedb.conf"
    file.write_text(DEBIAN)
    file.chmod(0o640)
    os.chown(file, os.geteuid(), 12 if os.geteuid() == 0 else os.getegid())
    before = file.stat()
    assert updatedb.prune(str(file))
    assert file.read_text() == DEBIAN.replace("usbfs", "usbfs fuse.sftpfs")
    assert not updatedb.prune(str(file))
    assert updatedb.walk(str(file))
    assert not updatedb.walk(str(file))
    assert file.read_text() == DEBIAN
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert os.listdir(tmp_path) == ["updatedb.conf"]


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ('PRUNEFS=""\n', 'PRUNEFS="fuse.sftpfs"\n'),
        ('  PRUNEFS = "a "  # why\n', '  PRUNEFS = "a fuse.sftpfs"  # why\n'),
        ('PRUNEFS="fuse.sftpfsx"', 'PRUNEFS="fuse.sftpfsx fuse.sftpfs"'),
        ('PRUNEFS="x fuse.sftpfs y"', None),
        ('# PRUNEFS="a"\n', None),
        ("PRUNEFS=a\n", None),
        ("", None),
    ],
)
def test_forms_of_the_line(tmp_path: Path, text: str, added: str | None) -> None:
    file = tmp_path / "updatedb.conf"
    file.write_text(text)
    assert updatedb.prune(str(file)) == (added is not None)
    assert file.read_text() == (text if added is None else added)


@pytest.mark.parametrize("types", ["fuse.sftpfs", "fuse.sftpfs a b", "a fuse.sftpfs b", "a b fuse.sftpfs"])
def test_the_word_goes_from_anywhere(tmp_path: Path, types: str) -> None:
    file = tmp_path / "updatedb.conf"
    file.write_text(f'PRUNEFS="{types}"')
    assert updatedb.walk(str(file))
    assert file.read_text().split('"')[1].split() == [one for one in types.split() if one != "fuse.sftpfs"]


def test_a_link_stays_one_and_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "conf").write_text(DEBIAN)
    link = tmp_path / "updatedb.conf"
    link.symlink_to("real/conf")
    assert updatedb.prune(str(link))
    assert link.is_symlink() and "fuse.sftpfs" in (tmp_path / "real" / "conf").read_text()
    os.mkfifo(tmp_path / "fifo")
    assert not updatedb.prune(str(tmp_path / "fifo"))
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    assert not updatedb.prune(str(tmp_path / "none")) and not (tmp_path / "none").exists()
    link.unlink()
    link.symlink_to("nowhere")
    assert not updatedb.prune(str(link))
    link.unlink()
    link.symlink_to("updatedb.conf")
    with pytest.raises(MountError, match="cannot change"):
        updatedb.prune(str(link))
