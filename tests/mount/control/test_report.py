"""``sftpfs report`` and ``sftpfs log --level`` on real mounts."""

from __future__ import annotations

import json
import os
import re
import signal
import tarfile
from pathlib import Path

import pytest

from sftpfs.errors import Failure
from sftpfs.host.daemon import exit_status
from tests.conftest import MakeMount
from tests.harness.command import environment, say
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually

SECRET = "hunter2-of-nobody-else"


def texts_of(path: Path) -> dict[str, str]:
    """File name below the archive's directory → text."""
    with tarfile.open(path) as archive:
        found = {}
        for entry in archive:
            file = archive.extractfile(entry)
            assert file is not None
            found[entry.name.partition("/")[2]] = file.read().decode()
        return found


# -- report ----------------------------------------------------------------------------------


def test_a_report_tells_how_a_mount_is_and_no_secret(make_mount: MakeMount, tmp_path: Path) -> None:
    mount = make_mount(f"SetEnv=TOKEN={SECRET}")
    (mount.path / "file").write_text("x")
    told = tmp_path / "told.tar.gz"
    found = say("report", mount.path, "--to", told)
    assert found.status == 0, found.stderr
    assert found.stdout.splitlines()[0] == str(told)
    assert "names of hosts, users and files may be in it" in found.stdout
    assert told.stat().st_mode & 0o777 == 0o600
    texts = texts_of(told)
    assert SECRET not in "".join(texts.values())
    assert "sftpfs " in texts["versions.txt"]
    assert "asyncssh " in texts["versions.txt"]
    assert "OpenSSH" in texts["versions.txt"]
    assert "/dev/fuse" in texts["doctor.txt"]
    assert str(mount.path) in texts["mount-1/mountinfo.txt"]
    assert "-o SetEnv=[left-out]" in texts["mount-1/options.txt"]
    assert str(mount.path) in texts["mount-1/options.txt"]
    assert f"on {mount.path}" in texts["mount-1/status.txt"]
    assert json.loads(texts["mount-1/stats.json"])["mounts"][0]["pid"] == mount.pid
    assert "mounted " in texts["mount-1/log.txt"]
    assert "State:" in texts["mount-1/process.txt"]


def test_a_report_works_with_a_mount_that_gives_no_answer(make_mount: MakeMount, tmp_path: Path) -> None:
    mount = make_mount()
    told = tmp_path / "told.tar.gz"
    os.kill(mount.pid, signal.SIGSTOP)
    try:
        found = say("report", mount.path, "--to", told)
    finally:
        os.kill(mount.pid, signal.SIGCONT)
    assert found.status == 0, found.stderr
    assert f"Told from outside only: the mount on {mount.path} has said nothing for" in found.stdout
    texts = texts_of(told)
    assert "has said nothing for" in texts["mount-1/silent.txt"]
    assert "T (stopped)" in texts["mount-1/process.txt"]
    assert str(mount.path) in texts["mount-1/mountinfo.txt"]
    assert str(mount.path) in texts["mount-1/options.txt"]
    assert "mount-1/status.txt" not in texts


def test_a_report_needs_no_mount(tmp_path: Path) -> None:
    # Mounts of tests that run beside this one may be in it, too.
    found = say("report", env=environment(TMPDIR=str(tmp_path)))
    assert found.status == 0, found.stderr
    told = Path(found.stdout.splitlines()[0])
    assert told.parent == tmp_path
    assert {"versions.txt", "doctor.txt"} <= set(texts_of(told))


def test_a_report_overwrites_nothing(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    found = say("report", "--to", there)
    assert found.status == exit_status(Failure.COMMAND)
    assert f"cannot be made as {there}: File exists" in found.stderr
    assert there.read_text() == "mine"


# -- log --level -----------------------------------------------------------------------------


def set_level(mount: Mount, name: str) -> str:
    """What ``status`` shows then."""
    done = say("log", "--level", name, mount.path)
    assert (done.status, done.stdout) == (0, ""), done.stderr
    return say("status", mount.path).stdout


def test_the_level_of_the_log_is_changed_while_mounted(make_mount: MakeMount, tmp_path: Path) -> None:
    log = tmp_path / "log"
    mount = make_mount(f"log_file={log}")
    assert " log " not in say("status", mount.path).stdout
    for name in ("debug", "error", "warning"):
        assert f"log           level {name};" in set_level(mount, name)
    mount.unmount()
    assert "INFO: mounted" in log.read_text()
    assert "unmounted" not in log.read_text()


def test_a_log_is_as_it_was_mounted_again(make_mount: MakeMount, tmp_path: Path) -> None:
    log = tmp_path / "log"
    mount = make_mount(f"log_file={log}")
    set_level(mount, "error")
    assert " log " not in set_level(mount, "default")
    mount.unmount()
    assert "INFO: unmounted" in log.read_text()


def test_a_level_that_is_none_is_refused(make_mount: MakeMount) -> None:
    mount = make_mount()
    found = say("log", "--level", "loud", mount.path)
    assert found.status == exit_status(Failure.USAGE)
    assert "expected error, warning, info, debug, default" in found.stderr
    assert say("log", "--level", "info", "--trace", mount.path).status == exit_status(Failure.USAGE)


@pytest.mark.parametrize("command", ["report", "log"])
def test_a_path_in_no_mount_is_told(command: str, tmp_path: Path) -> None:
    found = say(command, *(["--level", "info"] if command == "log" else []), tmp_path)
    assert found.status == exit_status(Failure.MOUNTPOINT)
    assert f"no sftpfs is mounted at {tmp_path}" in found.stderr


# -- misses in stats -------------------------------------------------------------------------


def name_misses(mount: Mount) -> dict[str, int]:
    """Reason → how often names were asked for."""
    found = say("stats", mount.path)
    assert found.status == 0, found.stderr
    names = json.loads(found.stdout)["mounts"][0]["misses"]["names"]
    assert isinstance(names, dict)
    return names


def test_stats_tell_why_names_were_asked_for(make_mount: MakeMount) -> None:
    kept, asked = make_mount("dcache_timeout=1"), make_mount("cache=no")
    for mount in (kept, asked):
        (mount.path / "file").touch()
    before = name_misses(asked)
    assert (asked.path / "file").exists()
    assert name_misses(asked)["uncached"] > before["uncached"]
    eventually(lambda: (kept.path / "file").exists() and name_misses(kept)["expired"] > 0)
    assert name_misses(kept)["uncached"] == 0
    exposition = say("stats", "--prometheus", kept.path).stdout
    assert re.search(r'sftpfs_misses_total\{.*kind="names",reason="expired"\} [1-9]', exposition)
    assert re.search(r'sftpfs_misses_total\{.*kind="listings",reason="new"\} \d', exposition)
