"""What covers the writes of a file reaches the server behind them, over a loss, and costs nothing without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from sftpfs.remote.api import RemoteFile
from sftpfs.remote.client import SftpRemote
from sftpfs.types import AttributeChange, OpenFlags
from tests.component.cut_server import operate
from tests.component.sftp_servers import encoded
from tests.harness.counting import LATENCY, CountingProxy

MIB = 1 << 20
SIZE = 12 * MIB
LONG_AGO = 1_000_000_000
BOTH = OpenFlags.READ | OpenFlags.WRITE


def requests(proxy: CountingProxy) -> list[str]:
    """What the server got since the last reset of the counters, in order."""
    return [one.split(" ", 1)[1] for one in proxy.read().trace]


async def written(file: RemoteFile) -> None:
    """Much is written, synced and dated at once."""
    writes = [file.start_write(at, b"y" * MIB) for at in range(0, SIZE, MIB)]
    synced = file.start_fsync()
    dated = file.start_setattr(AttributeChange(atime=LONG_AGO, mtime=LONG_AGO))
    told = file.start_fstat_behind()
    for slot in (*writes, synced, dated):
        await slot.wait()
    attributes = await told.wait()
    assert (attributes.size, attributes.mtime) == (SIZE, LONG_AGO)


def in_order(names: list[str]) -> bool:
    """Every WRITE before the first request that covers them, and those in the order they were made."""
    kinds = ("WRITE", "fsync@openssh.com", "FSETSTAT")
    sent = [name for name in names if name in kinds]
    return sent == sorted(sent, key=kinds.index)


@pytest.mark.parametrize("when", ["away as they are made", "lost while they are sent"])
def test_nothing_overtakes_writes_that_waited(proxy: CountingProxy, tree: Path, when: str) -> None:
    name = encoded(tree / "file")

    async def work(server: SftpRemote) -> None:
        file, _ = await server.open(name, BOTH, 0, lambda: name)
        proxy.reset()
        if when == "away as they are made":
            proxy.refuse()
            proxy.cut()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(written, file)
                await trio.sleep(0.3)
                proxy.refuse(False)
        else:
            proxy.cut_at("WRITE", carried_out=True)
            await written(file)
        file.close()

    operate(proxy, work)
    names = requests(proxy)
    last_open = len(names) - names[::-1].index("OPEN")
    assert in_order(names[last_open:])
    assert os.stat(tree / "file").st_mtime == LONG_AGO
    assert (tree / "file").read_bytes() == b"y" * SIZE


def test_all_of_it_is_one_wait_on_one_connection(proxy: CountingProxy, tree: Path) -> None:
    name = encoded(tree / "file")

    async def work(server: SftpRemote) -> None:
        file, _ = await server.open(name, BOTH, 0, lambda: name)
        proxy.set_latency(LATENCY)  # else the first may be answered before the next is there
        proxy.reset()
        slots = [file.start_write(0, b"written"), file.start_fsync(), file.start_fstat_behind()]
        for slot in slots:
            await slot.wait()
        assert proxy.read().waits == 1
        proxy.cut()
        file.close()
        await server.lstat(name)

    operate(proxy, work)
