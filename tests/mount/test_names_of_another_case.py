"""Names that differ in case alone, on a server for which they are one and on one for which they are two."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from sftpfs.vfs.tree.leases import ABSENCE_LEASE
from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.foreign import ForeignServer
from tests.harness.waiting import undisturbed

MANY = 100
"""Names of a directory of which not all are compared."""


@pytest.mark.parametrize("others", [0, MANY])
def test_where_they_are_one_each_leads_there(make_mount: MakeMount, backing: Path, others: int) -> None:
    """Also after a listing, which has one of them."""
    (backing / "README").write_text("hello")
    for number in range(others):
        (backing / f"other{number}").touch()
    with ForeignServer("folds case") as server:
        mount = make_mount("negative_timeout=60", port=server.port, backing=backing)
        here = mount.path
        assert "README" in os.listdir(here)
        assert (here / "readme").read_text() == "hello"
        with (here / "ReadMe").open("r+") as file:
            file.write("HELLO")
        assert (backing / "README").read_text() == "HELLO"
        (here / "Foo").touch()
        (here / "foo").touch()
        assert sorted(os.listdir(backing))[:2] == ["Foo", "README"]
        assert len(os.listdir(here)) == 2 + others
        subprocess.run(["git", "init", "-q", here / "work"], check=True, timeout=60)
        command = ["git", "-C", here / "work", "config", "core.ignorecase"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert told.stdout == "true\n"
        mount.close()


def test_what_is_done_by_one_is_seen_by_the_other(make_mount: MakeMount, backing: Path) -> None:
    """Both are known to the kernel all the while."""
    (backing / "README").write_text("hello")
    (backing / "Dir").mkdir()
    with ForeignServer("folds case") as server:
        mount = make_mount("negative_timeout=60", port=server.port, backing=backing)
        here = mount.path
        assert sorted(os.listdir(here)) == ["Dir", "README"]
        assert (here / "readme").stat().st_ino == (here / "README").stat().st_ino
        with (here / "readme").open() as reader, (here / "README").open("a") as writer:
            writer.write(" world")
            writer.flush()
            assert reader.read() == "hello world"
        (here / "dir" / "new").write_text("new")
        assert os.listdir(here / "Dir") == ["new"]
        (here / "README").rename(here / "readme")  # two names of one file: nothing
        (here / "README").rename(here / "other")
        (here / "Other").rename(here / "readme")
        assert sorted(os.listdir(backing)) == ["Dir", "readme"] == sorted(os.listdir(here))
        assert (here / "ReadMe").read_text() == "hello world"
        (here / "README").unlink()
        for name in ("readme", "README", "ReadMe"):
            assert not (here / name).exists()
        (here / "dir" / "NEW").rename(here / "DIR" / "Other")
        assert not (here / "Dir" / "new").exists()
        assert os.listdir(backing / "Dir") == ["Other"]
        (here / "dir" / "other").unlink()
        (here / "dir").rmdir()
        assert not (here / "Dir").exists()
        assert os.listdir(backing) == [] == os.listdir(here)
        mount.close()


def test_where_they_are_two_one_is_asked_for_once(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    (backing / "README").write_text("hello")
    (backing / "Other").write_text("hello")
    mount = make_mount("negative_timeout=60", port=counting_proxy.port, backing=backing)
    os.listdir(mount.path)
    names = map("".join, itertools.product(*zip("readme", "README", strict=True)))

    def asked() -> dict[str, int]:
        assert not (mount.path / next(names)).exists()
        counting_proxy.reset()
        for name in (*itertools.islice(names, 4), "other", "OTHER", "another"):
            assert not (mount.path / name).exists()
        return counting_proxy.read().requests

    assert undisturbed(asked, ABSENCE_LEASE / 2) == {}
