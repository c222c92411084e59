"""One run: the product from ``ConnectionPool`` to ``FuseMount`` in a simulated world, and its actors."""

from __future__ import annotations

import errno
import logging
import math
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import pyfuse3
import trio

from sftpfs.config import CacheConfig, Endpoint, MountConfig, PoolConfig
from sftpfs.fuse import requester
from sftpfs.fuse.invalidation import invalidate_all
from sftpfs.fuse.kernel_mount import FuseMount
from sftpfs.host.mount_directory import Place
from sftpfs.mount.remote_root import find_root
from sftpfs.remote.client import SftpRemote
from sftpfs.remote.pool import growth_policy
from sftpfs.remote.pool.pool import ConnectionPool
from sftpfs.types import Bandwidth
from sftpfs.vfs.tree import eviction, leases
from tests.simulation import kernel_names, sizes, transport, virtual
from tests.simulation.checks import check_tree, compare
from tests.simulation.disk import Disk, Node
from tests.simulation.file_programs import FileProgram
from tests.simulation.kernel import process
from tests.simulation.kernel_files import Kernel
from tests.simulation.network import Network, Refusal, Trap
from tests.simulation.oracle import Lie, Oracle
from tests.simulation.others import OtherClient
from tests.simulation.power import lose_power
from tests.simulation.programs import Killed
from tests.simulation.scenario import PROGRAMS, Scenario, Step, World
from tests.simulation.transport import MemoryConnector

T = TypeVar("T")

ROOT = b"/m"
NETWORK = ("cut", "trap", "refuse", "power", "hole")
"""What a scenario may have happen at a step of a program's."""

PROCESSOR_LIMIT = 20.0
"""Seconds of processor time one run may take: a hundred times what they take."""

NAT = 60.0
"""Seconds after which something on the way says that it does not know the connection."""

LIMITED_SLACK = 600.0
"""Seconds beyond the deadline that a request may take where content is limited, with what is before it."""

SETTLING = 50.0
"""Seconds after the last step: every lease is over then."""

transport.install()
pyfuse3.readdir_reply = kernel_names.readdir_reply
growth_policy.idle_seconds = lambda: 0.0
requester.READING = frozenset()  # what a process of this machine does is none of a run's business


class Nowhere:
    """Stands in for ``Place``: there is no directory and nothing in the machine's table of mounts."""

    mounted = None

    def attach(self, mount: Callable[[str], None], by_name: bool) -> None:
        """As ``Place.attach``."""
        mount("/simulated")

    def now(self) -> None:
        """As ``Place.now``."""

    def take_off(self) -> None:
        """As ``Place.take_off``."""


class Result:
    """What a run came to: ``lie`` None where nothing was wrong."""

    def __init__(self) -> None:
        self.lie: str | None = None
        self.calls = 0
        self.requests = 0
        self.fuse_requests = 0
        self.seconds = 0.0
        self.trace: list[str] = []
        self.begun: set[int] = set()
        """Identities of the steps that began."""


class Losses:
    """Implements ``LossRecord``: keeps which files lost something."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []

    def __call__(self, path: bytes, lost: Any) -> None:
        self.paths.append(path)

    record_loss = __call__

    def narrow_loss(self, incident: int, ranges: list[tuple[int, int]]) -> None:
        """Nothing is written back."""

    def note_version(self, incidents: list[int], version: tuple[int, int] | None) -> None:
        """The same."""

    def acknowledged(self, path: bytes) -> bool:
        return False

    def files(self, path: bytes) -> list[str]:
        return []

    def wait_saved(self) -> None:
        """Nothing is saved."""


class Endless(BaseException):
    """A run took too much processor time: something goes round in circles."""


class LogWatch(logging.Handler):
    """Keeps what the product calls an error."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR and "internal error" in record.getMessage():
            text = record.getMessage()
            if record.exc_info is not None and record.exc_info[1] is not None:
                text += f": {record.exc_info[1]!r} at {_where(record.exc_info[2])}"
            self.errors.append(text)


def _where(traceback: Any) -> str:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}" if traceback else "?"


class Simulation:
    """See the module."""

    def __init__(self, scenario: Scenario, verbose: bool = False) -> None:
        self.scenario = scenario
        self.verbose = verbose
        self.result = Result()
        self.clocks = virtual.begin(hash((scenario.seed, scenario.schedule)) & 0xFFFFFFFF)
        self.clocks.wall_offset = scenario.world.wall_offset
        self.rng = self.clocks.trio.rng = random.Random(scenario.seed * 7919 + scenario.schedule)
        self.disk = Disk(self.clocks.booted, self.clocks.server)
        self.watch = LogWatch()
        world = scenario.world
        late = 2 * world.one_way * (1 + world.jitter)  # a round trip
        self.oracle = Oracle(self.disk, world.lease, world.timeout, late)
        self.oracle.answer = late / 2
        if world.bandwidth < math.inf:
            self.oracle.slack = LIMITED_SLACK
        self.unwritten: list[Any] = []

    def run(self) -> Result:
        """Run it; never raises for what the mount does."""
        root_logger = logging.getLogger("sftpfs")
        root_logger.addHandler(self.watch)
        root_logger.propagate = False
        logging.lastResort = None
        bound = max(self.scenario.world.bound, 1)
        leases.LISTED_ENTRIES_MINIMUM = eviction.LISTED_ENTRIES_MINIMUM = min(1000, bound)
        signal.signal(signal.SIGPROF, _endless)
        signal.setitimer(signal.ITIMER_PROF, PROCESSOR_LIMIT)
        try:
            trio.run(self._main, clock=self.clocks.trio, instruments=[self.clocks.trio])
        except* Endless as group:
            self.result.lie = f"a run without an end, at {self.clocks.awake():.3f} s: {_first(group)}"
        except* Lie as group:
            self.result.lie = str(_first(group))
        except* AssertionError as group:
            self.result.lie = (
                f"an assertion failed: {_first(group)!r} at {_where(_first(group).__traceback__)}"
            )
        except* Exception as group:
            self.result.lie = f"the mount ended: {_first(group)!r} at {_where(_first(group).__traceback__)}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            root_logger.removeHandler(self.watch)
        if self.result.lie is None and self.watch.errors:
            self.result.lie = self.watch.errors[0]
        self.result.seconds = self.clocks.awake()
        self.result.calls = sum(program.count for program in self.programs.values())
        self.result.requests = self.network.requests
        self.result.fuse_requests = self.kernel.requests
        return self.result

    def say(self, text: str) -> None:
        if self.verbose:
            self.result.trace.append(f"{self.clocks.awake():9.3f} {text}")

    # -- life ------------------------------------------------------------------------

    async def _main(self) -> None:
        world = self.scenario.world
        root = self.disk.mkdir(ROOT, 0o755)
        self.other = OtherClient(self.disk, root, ROOT)
        for step in self.scenario.setup:
            self.other.do(step.verb, *step.arguments)
        await trio.sleep(100.0)  # what was there is old
        self.network = Network(self.disk, self.clocks.trio, self.rng, world.one_way, world.jitter)
        self.network.largest //= world.divide
        self.network.listed = world.listed
        self.network.proc = world.proc
        sizes.divide(world.divide)
        sizes.show_together(world.shown)
        self.network.on_cut = lambda begin, end: self.oracle.cut(self._booted(begin), self._booted(end))
        self.network.on_refusal = self.oracle.refusal
        if self.verbose:
            self.network.trace = lambda channel, kind, packet, reply: self.say(
                f"    c{channel.transport.number} {kind} {packet[5:70]!r} → {reply[4]} {reply[9:17]!r}"
            )
        config = MountConfig(
            Endpoint("host", ROOT),
            "/simulated",
            pool=PoolConfig(
                max_connections=world.connections,
                timeout=world.timeout,
                bandwidth=Bandwidth(world.bandwidth, world.bandwidth),
            ),
            cache=_cache(world),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.network.run)
            pool = ConnectionPool(MemoryConnector(self.network), config.pool, nursery)
            await pool.start(interactive=False)
            remote = SftpRemote(pool)
            found = await find_root(remote, config)
            mount = FuseMount(config, cast(Place, Nowhere()), remote, found.path, found.attributes, Losses())
            self._attach(mount)
            await mount.prime()
            nursery.start_soon(mount.run)
            self.kernel.nursery = nursery
            await self._serve(mount, root)
            self.ended.set()
            self.unwritten = await mount.drain()
            self._compare_disk()
            await pool.aclose()
            nursery.cancel_scope.cancel()

    def _attach(self, mount: FuseMount) -> None:
        """Mount, with a kernel of ours in the place of pyfuse3's session."""
        self.ended = trio.Event()

        def init(operations: Any, mountpoint: str, options: set[str]) -> None:
            self.kernel = Kernel(operations, self.rng)
            self.oracle.history.kernel_notified = lambda: not self.kernel.invalidating
            self.kernel.answered = self.oracle.answered
            if self.verbose:
                self.kernel.trace = self.say

        async def main(*_: Any, **__: Any) -> None:
            self.kernel.operations.init()
            await self.ended.wait()

        pyfuse3.init, pyfuse3.main = init, main
        pyfuse3.close = lambda unmount=True: None
        pyfuse3.invalidate_inode = lambda inode, attr_only=False: self.kernel.invalidate_inode(
            inode, attr_only
        )
        pyfuse3.invalidate_entry = lambda parent, name, deleted=0: self.kernel.invalidate_entry(parent, name)
        pyfuse3.invalidate_entry_async = self._invalidate_later
        trio.to_thread.run_sync = self._in_no_thread
        mount.mount()
        self.mount = mount

    def _invalidate_later(
        self, parent: int, name: bytes, deleted: int = 0, ignore_enoent: bool = False
    ) -> None:
        def work() -> None:
            with suppress(OSError):
                self.kernel.invalidate_entry(parent, name)

        self.network.at(trio.current_time(), work)

    async def _in_no_thread(self, work: Callable[..., T], *arguments: Any, **_: Any) -> T | None:
        """``trio.to_thread.run_sync``: in virtual time nothing may take as long as a real thread does."""
        await trio.lowlevel.checkpoint()
        if work is invalidate_all:
            await self.kernel.invalidate_all(*arguments)
            return None
        return work(*arguments)

    async def _serve(self, mount: FuseMount, root: Node) -> None:
        """All actors to their ends; then what remains is compared."""
        self.oracle.ready, self.oracle.begun = True, self.disk.now()
        actors: dict[str, list[Step]] = {}
        for step in self.scenario.steps:
            actors.setdefault(step.who, []).append(step)
        self.programs = {name: FileProgram(name, self.kernel, self.oracle, root) for name in PROGRAMS}
        async with trio.open_nursery() as nursery:
            for who, steps in actors.items():
                nursery.start_soon(self._act, who, steps)
        self._check()
        self.network.traps.clear()
        self.network.refusals.clear()
        for program in self.programs.values():
            program.process.killed = False
            process.set(program.process)
            await program.finish()
        await trio.sleep(SETTLING)
        await compare(self)

    async def _act(self, who: str, steps: list[Step]) -> None:
        for step in steps:
            if step.pause:
                await trio.sleep(step.pause)
            else:
                await trio.lowlevel.checkpoint()
            if self.kernel.forgotten:
                await self.kernel.forget_some()
            if self.rng.random() < self.scenario.world.forget:
                self.kernel.shrink(self.kernel.root, 0.5)
                await self.kernel.forget_some()
            self.say(str(step))
            self.result.begun.add(id(step))
            if who in PROGRAMS and step.verb not in NETWORK:
                await self._in_program(self.programs[who], step)
            elif who == "X":
                self.other.do(step.verb, *step.arguments)
            else:
                await getattr(self, f"_{step.verb}")(*step.arguments)
            self.say(f"{step.who} {step.verb} ended")
            if self.watch.errors:
                raise Lie(self.watch.errors[0])

    async def _in_program(self, program: FileProgram, step: Step) -> None:
        process.set(program.process)
        with suppress(Killed):
            await getattr(program, step.verb)(*step.arguments)
        while program.process.killed:
            with suppress(Killed):
                await program.reborn()

    def _check(self) -> None:
        check_tree(self.mount.filesystem.tree, self.kernel)

    # -- what lies between -------------------------------------------------------------

    async def _forget(self, chance: float) -> None:
        self.kernel.shrink(self.kernel.root, chance)
        await self.kernel.forget_some()

    async def _kill(self, who: str) -> None:
        """A program is killed in what it does, or as it begins the next."""
        self.programs[who].process.killed = True

    async def _sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def _trap(self, kind: str, when: str, refused: float, skip: int) -> None:
        self.network.traps.append(Trap(kind, when, refused, skip))

    async def _cut(self, refused: float) -> None:
        self.cut_all(refused)

    def cut_all(self, refused: float) -> None:
        for connection in self.network.alive():
            connection.cut(refused)

    async def _power(self, down: float, silent: bool, seed: int) -> None:
        """The server's machine loses its power, and is back ``down`` seconds later; ``silent``: nothing says
        so until then."""
        now = trio.current_time()
        self.network.on_cut(now, now + down)
        for connection in self.network.alive():
            connection.lose(now + down if silent else now)
        if silent:
            self.network.hole_until = max(self.network.hole_until, now + down)
        else:
            self.network.refused_until = max(self.network.refused_until, now + down)
        before = self.oracle.names()
        self.oracle.power_lost(lose_power(self.disk, seed), before)

    async def _hole(self, which: int | None, way: str, seconds: float, cut: bool) -> None:
        """Nothing passes for ``seconds``: on one connection, or on all that there are or will be (None).
        ``way`` "answers": requests do. ``cut``: then it is lost, else it goes on."""
        until = trio.current_time() + seconds
        alive = self.network.alive()
        chosen = alive if which is None or not alive else [alive[which % len(alive)]]
        begin = self._booted(trio.current_time())
        self.oracle.hole(begin, begin + seconds, everywhere=len(chosen) == len(alive))
        if which is None:
            self.network.hole_until = max(self.network.hole_until, until)
        for connection in chosen:
            connection.mute_until = max(connection.mute_until, until)
            if way == "both":
                connection.silent_until = max(connection.silent_until, until)
            if cut:
                self.network.at(until, connection.cut_if_alive)

    async def _suspend(self, seconds: float, connections: str, *changes: tuple[Any, ...]) -> None:
        """This machine sleeps, and other clients make ``changes`` meanwhile. Its ``connections`` are "alive"
        then, or "lost" without a word: who asks is told nothing, or by a reset ("reset")."""
        begin = self.clocks.booted()
        self.oracle.history.sleeps.append((begin, begin + seconds))
        self.clocks.slept += seconds / 2
        for verb, *arguments in changes:
            self.other.do(verb, *arguments)
        self.clocks.slept += seconds / 2
        self.network.refused_until -= seconds
        self.network.hole_until -= seconds
        if connections == "reset":
            self.cut_all(0.0)
        elif connections == "lost":
            for connection in self.network.alive():
                connection.lose(trio.current_time() + NAT)
        if any(connection.dead for connection in self.network.alive()):
            now = self._booted(trio.current_time())
            self.oracle.hole(now, now + NAT, everywhere=True)

    def _booted(self, when: float) -> float:
        """A moment of trio's by the clock that runs on in a sleep."""
        return when + self.clocks.slept

    async def _refuse(self, kind: str, number: str, count: int) -> None:
        self.network.refusals.append(Refusal(kind, getattr(errno, number), count))

    async def _clock(self, offset: float) -> None:
        self.clocks.wall_offset = offset

    def _compare_disk(self) -> None:
        if self.unwritten and not self.oracle.refused and not self.oracle.outages():
            raise Lie(f"the mount ended with data unwritten: {self.unwritten}")


def _cache(world: World) -> CacheConfig:
    lease = world.lease
    if not lease:
        return CacheConfig(enabled=False, max_entries=world.bound)
    return CacheConfig(True, lease, lease, lease, lease, max_entries=world.bound)


def _endless(number: int, frame: Any) -> None:
    where = []
    while frame is not None and len(where) < 12:
        where.append(f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    raise Endless(" < ".join(where))


def _first(group: BaseExceptionGroup) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
