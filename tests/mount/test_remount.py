"""``mount -o remount`` of a mount of ours by the real mount(8), and what a plain user may not ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.machine import NOBODY, Machine
from tests.mount.test_helpers import USER_ID, Exported
from tests.sshd import Sshd


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as made:
        assert made.run("/mnt/bin/sftpfs", "install-helpers")[0] == 0
        yield made


@pytest.fixture
def exported(machine: Machine, sshd: Sshd, tmp_path: Path) -> Exported:
    return Exported(machine, sshd, tmp_path)


def flags(machine: Machine, path: str) -> set[str]:
    status, words, _ = machine.run("findmnt", "-n", "-o", "OPTIONS", path)
    assert status == 0
    return set(words.strip().split(","))


@pytest.mark.parametrize("in_fstab", [False, True])
def test_read_only_and_back(machine: Machine, exported: Exported, in_fstab: bool) -> None:
    path = machine.directory("/mnt/a")
    spec = exported.spec("a")
    if in_fstab:
        exported.fstab((spec, path, "fuse.sftpfs", f"noauto,nosuid,{exported.options}"))
        assert machine.run("mount", path) == (0, "", "")
    else:
        options = f"nosuid,{exported.options}"
        assert machine.run("mount", "-t", "sftpfs", "-o", options, spec, path) == (0, "", "")
    file = machine.outside(f"{path}/hello")
    file.write_text("before\n")

    status, _, errors = machine.run("mount", "-o", "remount,ro", path)
    assert status == 0, errors
    assert ("port=" in errors or "port," in errors) == in_fstab, "what stays as it was is told"
    assert {"ro", "nosuid", "nodev"} <= flags(machine, path)
    with pytest.raises(OSError, match="Read-only"):
        file.write_text("refused\n")
    assert machine.run("test", "-w", f"{path}/hello")[0] == 1
    assert (exported.directory / "a" / "hello").read_text() == "before\n"

    assert machine.run("mount", "-o", "remount,rw,noexec", path)[0] == 0
    assert {"rw", "nosuid", "nodev", "noexec"} <= flags(machine, path)
    assert machine.run("test", "-w", f"{path}/hello")[0] == 0
    file.write_text("after\n")
    assert (exported.directory / "a" / "hello").read_text() == "after\n"
    assert machine.run("umount", path) == (0, "", "")


def test_made_read_only_and_then_writable(machine: Machine, exported: Exported) -> None:
    path = machine.directory("/mnt/a")
    options = f"ro,{exported.options}"
    assert machine.run("mount", "-t", "sftpfs", "-o", options, exported.spec("a"), path) == (0, "", "")
    assert machine.run("mount", "-o", "remount,rw", path)[0] == 0
    for step in (
        ["test", "-w", f"{path}/hello"],
        ["sh", "-c", f"echo new >{path}/hello"],
        ["/mnt/bin/sftpfs", "cp", f"{path}/hello", f"{path}/copy"],
    ):
        assert machine.run(*step)[0] == 0, step
    assert (exported.directory / "a" / "copy").read_text() == "new\n"
    assert machine.run("umount", path) == (0, "", "")


def test_what_is_open_for_writing_keeps_it_writable(machine: Machine, exported: Exported) -> None:
    path = machine.directory("/mnt/a")
    assert machine.run("mount", "-t", "sftpfs", "-o", exported.options, exported.spec("a"), path)[0] == 0
    with open(machine.outside(f"{path}/hello"), "w"):
        status, _, errors = machine.run("mount", "-o", "remount,ro", path)
    assert status == 32 and "files are open for writing" in errors
    assert "rw" in flags(machine, path)
    assert machine.run("umount", path) == (0, "", "")


def test_what_is_not_mounted_is_told(machine: Machine, exported: Exported) -> None:
    path = machine.directory("/mnt/a")
    status, _, errors = machine.run(
        "/sbin/mount.fuse.sftpfs", exported.spec("a"), path, "-o", "remount,ro", "-t", "fuse.sftpfs"
    )
    assert status == 32 and f"{path} is not mounted: there is nothing to remount" in errors


@pytest.mark.parametrize("word", ["suid", "dev"])
def test_what_only_root_may_ask_for_is_told_to_others(
    machine: Machine, exported: Exported, word: str
) -> None:
    path = machine.directory("/mnt/a", owner=USER_ID)
    options = exported.user_options
    status, _, errors = machine.run(
        "/mnt/bin/sftpfs", exported.spec("a"), path, "-o", f"{options},{word}", user=NOBODY
    )
    assert status == 0 and f"note: option {word} is ignored: only root may mount so" in errors
    assert f"no{word}" in flags(machine, path)
    assert machine.run("umount", path, user=NOBODY)[0] in (0, 32)
    assert machine.run("umount", path)[0] in (0, 32)
    assert machine.mounts() == {}
