"""The helpers of mount(8) and umount(8): their words, their links, and what a service manager demands."""

from __future__ import annotations

import os
import stat
from argparse import Namespace
from pathlib import Path

import pytest

from sftpfs.cli.main import HELPERS
from sftpfs.cli.mount_helper import own_letters
from sftpfs.cli.run import install_helpers
from sftpfs.cli.tools import helper_links, updatedb
from sftpfs.cli.umount_helper import parse_words
from sftpfs.errors import Failure, MountError
from sftpfs.host.sd_notify import ServiceManager

MOUNT_WORDS = [
    ("h: /m", ["h:", "/m"], False, False),
    ("h: /m -sfnv -o ro,x -t sftpfs", ["h:", "/m", "-nv", "-o", "ro,x", "-t", "sftpfs"], True, True),
    ("h: /m -f", ["h:", "/m"], True, False),
    ("-n -t fuse.sftpfs -s -o ro h: /m", ["-n", "-t", "fuse.sftpfs", "-o", "ro", "h:", "/m"], False, True),
    ("h: /m -N /proc/1/ns/mnt -v", ["h:", "/m", "-v"], False, False),
    ("h: /m -o fs", ["h:", "/m", "-o", "fs"], False, False),
]


@pytest.mark.parametrize(("words", "plain", "fake", "sloppy"), MOUNT_WORDS)
def test_words_of_mount(words: str, plain: list[str], fake: bool, sloppy: bool) -> None:
    assert own_letters(words.split()) == (plain, fake, sloppy)


@pytest.mark.parametrize("words", [["h:", "/m", "-o"], ["h:", "/m", "-t"], ["h:", "/m", "-N"]])
def test_a_missing_value_is_told(words: list[str]) -> None:
    with pytest.raises(MountError, match="needs a value") as caught:
        own_letters(words)
    assert caught.value.failure is Failure.USAGE


def test_words_of_umount(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "way").symlink_to("real")
    path = str(tmp_path / "way" / "mnt")
    real = str((tmp_path / "real").resolve() / "mnt")
    assert parse_words([path]) == (real, set())
    assert parse_words([path, "-fl", "-N", "/ns", "-t", "fuse.sftpfs", "-v"]) == (real, {"f", "l", "v"})
    for words in ([], ["/a", "/b"], ["-l"]):
        with pytest.raises(MountError):
            parse_words(words)


def test_every_link_leads_to_a_helper() -> None:
    assert set(helper_links.NAMES) == set(HELPERS)


def test_links_are_made_moved_and_removed(tmp_path: Path) -> None:
    directory = str(tmp_path)
    names = sorted(helper_links.NAMES)
    assert len(helper_links.install(directory, "/usr/bin/sftpfs")) == len(names)
    assert helper_links.install(directory, "/usr/bin/sftpfs") == []
    moved = helper_links.install(directory, "/opt/bin/sftpfs")
    assert len(moved) == len(names) - 1 and f"{directory}/{helper_links.FOR_ALL}" not in moved
    assert os.readlink(tmp_path / "mount.sftpfs") == "/opt/bin/sftpfs"
    assert len(helper_links.remove(directory)) == len(names)
    assert os.listdir(tmp_path) == []


def test_the_script_is_not_shown_as_a_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper_links, "program_path", lambda: "/bin/sh")
    monkeypatch.setattr(updatedb, "prune", lambda: False)
    install_helpers.run(Namespace(directory=str(tmp_path), remove=False))
    shown = capsys.readouterr().out.splitlines()
    assert f"{tmp_path}/mount.sftpfs -> /bin/sh" in shown
    assert f"{tmp_path}/umount.fuse: a script" in shown


def test_what_others_put_there_stays(tmp_path: Path) -> None:
    (tmp_path / helper_links.FOR_ALL).symlink_to("/usr/bin/other")
    assert len(helper_links.install(str(tmp_path), "/usr/bin/sftpfs")) == len(helper_links.NAMES) - 1
    helper_links.remove(str(tmp_path))
    assert os.listdir(tmp_path) == [helper_links.FOR_ALL]
    (tmp_path / "mount.sftpfs").touch()
    with pytest.raises(MountError, match="was not made by sftpfs"):
        helper_links.install(str(tmp_path), "/usr/bin/sftpfs")


def test_a_program_that_others_may_change_is_told_of(tmp_path: Path) -> None:
    program = tmp_path / "sftpfs"
    program.touch()
    tmp_path.chmod(0o755)
    program.chmod(0o755)
    assert helper_links.changeable_by_others(str(program)) in ("", *map(str, tmp_path.resolve().parents))
    program.chmod(0o755 | stat.S_IWOTH)
    assert helper_links.changeable_by_others(str(program)) == str(program.resolve())


def test_the_watchdog_is_another_process_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    for process, interval in (("", 2.0), (str(os.getpid()), 2.0), ("1", 0.0)):
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")
        monkeypatch.setenv("WATCHDOG_PID", process)
        manager = ServiceManager()
        assert manager.watchdog_interval == interval
        assert not manager.present
        assert "WATCHDOG_USEC" not in os.environ
        manager.ready("nobody listens")


def test_links_in_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MountError, match=f"make the directory with: mkdir -p {tmp_path}/none$") as caught:
        helper_links.install(str(tmp_path / "none"), "/usr/bin/sftpfs")
    assert caught.value.failure is Failure.CONFIGURATION
