"""Symbolic links on servers that take the arguments of SYMLINK in either order."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sftpfs.remote.client import SftpRemote
from sftpfs.remote.pool.pool import ConnectionPool
from tests.component import altered
from tests.component.altered import asked
from tests.component.sftp_servers import ServerConnector, encoded, run, serving

DRAFT = "links the draft's way"
REQUESTS = ("symlink", "readlink", "remove")


@pytest.mark.parametrize("respect", ["none", DRAFT])
@pytest.mark.parametrize("taken", [False, True])
def test_a_link_leads_where_it_was_to(tmp_path: Path, respect: str, taken: bool) -> None:
    """Whether or not something has the name it leads to, and without a stray link."""
    target = encoded(tmp_path / "target")
    if taken:
        (tmp_path / "target").write_bytes(b"content")

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        await server.symlink(target, base + b"/one")
        assert pool.traits.known.takes_symlink_target_first is (respect == "none")
        second = server.symlink(b"one", base + b"/two")
        assert await asked(pool, second, REQUESTS) == {"symlink": 1, "readlink": 1}
        third = server.symlink(b"three", base + b"/three")
        assert await asked(pool, third, REQUESTS) == {"symlink": 1}
        with pytest.raises(FileExistsError):
            await server.symlink(b"other", base + b"/two")

    altered.operate(respect, tmp_path, work)
    assert os.readlink(tmp_path / "one") == os.fsdecode(target)
    assert os.readlink(tmp_path / "two") == "one"
    assert sorted(os.listdir(tmp_path)) == ["one", *(["target"] if taken else []), "three", "two"]


@pytest.mark.parametrize("respect", ["makes targets absolute", "makes targets absolute, the draft's way"])
def test_a_link_to_another_target_than_it_was_to_lead_to_is_none(tmp_path: Path, respect: str) -> None:
    """Absolute ones it makes as they are."""

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        for name in (b"/one", b"/two"):
            with pytest.raises(PermissionError):
                await server.symlink(b"target", base + name)
        assert not pool.traits.known.keeps_link_targets
        await server.symlink(base + b"/target", base + b"/three")

    altered.operate(respect, tmp_path, work)
    assert os.listdir(tmp_path) == ["three"]
    assert os.readlink(tmp_path / "three") == str(tmp_path / "target")


@pytest.mark.parametrize("respect", ["none", DRAFT])
def test_a_link_that_cannot_be_made_leaves_none(tmp_path: Path, respect: str) -> None:
    (tmp_path / "directory").mkdir()

    async def work(server: SftpRemote, _: ConnectionPool, base: bytes) -> None:
        with pytest.raises(FileNotFoundError):
            await server.symlink(base + b"/directory/target", base + b"/none/link")
        await server.symlink(b"right", base + b"/link")

    altered.operate(respect, tmp_path, work)
    assert os.readlink(tmp_path / "link") == "right"
    assert os.listdir(tmp_path / "directory") == []


def test_of_openssh_the_order_is_known(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(ServerConnector(), max_connections=1) as (server, pool):
            linking = server.symlink(b"target", encoded(tmp_path / "link"))
            assert await asked(pool, linking, REQUESTS) == {"symlink": 1}

    run(test)
    assert os.readlink(tmp_path / "link") == "target"


@pytest.mark.parametrize("respect", ["follows links", "denies LSTAT"])
@pytest.mark.parametrize("target", ["there", "nothing"])
def test_a_link_that_lstat_does_not_show_is_made_all_the_same(
    tmp_path: Path, respect: str, target: str
) -> None:
    (tmp_path / "there").write_bytes(b"content")

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        for name in (b"/one", b"/two"):
            told = await server.symlink(target.encode(), base + name)
            assert stat.S_ISLNK(told.mode) and told.size == len(target)
        assert pool.traits.known.answers_lstat is (respect == "follows links" and target == "nothing")

    altered.operate(respect, tmp_path, work)
    assert os.readlink(tmp_path / "one") == os.readlink(tmp_path / "two") == target
