"""Names that are no UTF-8, on servers that may not keep them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sftpfs.remote.client import SftpRemote
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.types import OpenFlags
from tests.component import altered
from tests.component.altered import asked
from tests.component.sftp_servers import ServerConnector, encoded, run, serving

NEW = OpenFlags.WRITE | OpenFlags.CREATE | OpenFlags.EXCLUSIVE
STRANGE = b"/caf\xe9"


async def made(server: SftpRemote, path: bytes) -> None:
    """A new file."""
    file, _ = await server.open(path, NEW, 0o600, lambda: path)
    file.close()


@pytest.mark.parametrize("first", ["open", "lstat", "mkdir", "symlink", "rename"])
def test_a_name_that_would_be_another_is_refused(tmp_path: Path, first: str) -> None:
    """Whichever request is the first to have one; two of them would be one file."""
    (tmp_path / "old").write_bytes(b"kept")

    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        path = base + STRANGE
        attempts = {
            "open": lambda: made(server, path),
            "lstat": lambda: server.lstat(path),
            "mkdir": lambda: server.mkdir(path, 0o700),
            "symlink": lambda: server.symlink(b"target", path),
            "rename": lambda: server.rename(base + b"/old", path, True),
        }
        for name in (first, *attempts):
            with pytest.raises(OSError) as raised:
                await attempts[name]()
            assert raised.value.errno == errno.EILSEQ
        assert not pool.traits.known.keeps_names
        await made(server, base + "/café".encode())

    altered.operate("decodes names", tmp_path, work)
    assert sorted(os.listdir(tmp_path)) == ["café", "old"]


def test_a_server_that_keeps_names_is_asked_once(tmp_path: Path) -> None:
    async def work(server: SftpRemote, pool: ConnectionPool, base: bytes) -> None:
        await made(server, base + b"/plain")
        assert await asked(pool, made(server, base + STRANGE), ("realpath",)) == {"realpath": 1}
        assert await asked(pool, server.mkdir(base + b"/\xff", 0o700), ("realpath",)) == {}

    altered.operate("none", tmp_path, work)
    assert sorted(os.listdir(encoded(tmp_path))) == [b"caf\xe9", b"plain", b"\xff"]


def test_openssh_is_not_asked(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(ServerConnector(), max_connections=1) as (server, pool):
            assert await asked(pool, made(server, encoded(tmp_path) + STRANGE), ("realpath",)) == {}

    run(test)
    assert os.listdir(encoded(tmp_path)) == [STRANGE[1:]]
