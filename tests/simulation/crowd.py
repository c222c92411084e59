"""How many lines of the mount's own code an operation takes, beside so many open files.

    python -m tests.simulation.crowd COUNT...      prints, for each, a line of JSON: steps by operation

All of the mount, from the kernel's requests to packets, in virtual time; what the simulated kernel and server
do is not counted. A process of its own, for it puts other clocks into ``time``.
"""

from __future__ import annotations

from tests.simulation import virtual

virtual.install()  # before the product is imported

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Awaitable, Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from types import FrameType  # noqa: E402
from typing import Any  # noqa: E402

import trio  # noqa: E402

import sftpfs  # noqa: E402
from sftpfs.fuse.kernel_mount import FuseMount  # noqa: E402
from tests.simulation import world  # noqa: E402
from tests.simulation.disk import Node  # noqa: E402
from tests.simulation.scenario import Scenario, Step, World  # noqa: E402
from tests.simulation.world import Simulation  # noqa: E402

PRODUCT = str(Path(sftpfs.__file__).parent) + os.sep
TIMES = 5
"""Operations counted together."""

PROCESSOR_LIMIT = 300.0
"""Seconds for one count: opening 20,000 files is most of it."""

SETTLED = 5.0
"""Virtual seconds that are counted after them: what goes on by itself is part of the price."""


def place(number: int) -> str:
    """Where file ``number`` is."""
    return f"open/{number // 100}/{number}"


class Crowd(Simulation):
    """One mount with ``count`` files open to read, and as many names beside."""

    def __init__(self, count: int) -> None:
        places = dict.fromkeys(path.rpartition("/")[0] for path in map(place, range(count)))
        setup = [Step("X", 0.0, "mkdir", (path,)) for path in ("open", "here", *places)]
        setup += [Step("X", 0.0, "put", (place(number), "x", 100)) for number in range(count)]
        super().__init__(Scenario(1, "crowd", World(), tuple(setup), ()))
        self.programs = {}
        self.count = count
        self.lines = 0
        self.counted: dict[str, int] = {}

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PRODUCT):
            return None
        self.lines += event == "line"
        return self._trace

    async def _count(self, what: str, call: Callable[[int], Awaitable[object]]) -> None:
        await call(-1)  # what is made once was made
        await trio.sleep(SETTLED)
        self.lines = 0
        sys.settrace(self._trace)
        for number in range(TIMES):
            await call(number)
        await trio.sleep(SETTLED)
        sys.settrace(None)
        self.counted[what] = self.lines

    async def _serve(self, mount: FuseMount, root: Node) -> None:
        kernel = self.kernel
        base = kernel.root
        files = [
            await kernel.open(base, place(number).encode().split(b"/"), os.O_RDONLY)
            for number in range(self.count)
        ]

        async def make(number: int) -> None:
            file = await kernel.open(base, [b"here", b"n%d" % number], os.O_WRONLY | os.O_CREAT)
            await kernel.write(file, 0, b"new")
            await kernel.fsync(file)
            await kernel.close(file)

        async def link(number: int) -> None:
            await kernel.link(base, [b"here", b"n%d" % number], [b"here", b"l%d" % number])

        async def rename(number: int) -> None:
            await kernel.rename(base, [b"here", b"l%d" % number], [b"here", b"r%d" % number])

        async def read(number: int) -> None:
            file = await kernel.open(base, [b"here", b"n%d" % number], os.O_RDONLY)
            await kernel.read(file, 0, 3)
            await kernel.close(file)

        async def remove(number: int) -> None:
            await kernel.unlink(base, [b"here", b"r%d" % number])
            await kernel.unlink(base, [b"here", b"n%d" % number])

        for call in (make, link, rename, read, remove):
            await self._count(call.__name__, call)
        for file in files:
            await kernel.close(file)


def main() -> None:
    """See the module."""
    world.PROCESSOR_LIMIT = PROCESSOR_LIMIT
    for count in map(int, sys.argv[1:]):
        crowd = Crowd(count)
        result = crowd.run()
        if result.lie is not None:
            raise SystemExit(result.lie)
        print(json.dumps(crowd.counted), flush=True)


if __name__ == "__main__":
    main()
