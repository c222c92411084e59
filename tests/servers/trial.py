"""One server, one contestant, the whole core: servers, mounts and workers are started and ended here."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.harness.helper_process import HelperProcess
from tests.harness.mounts import Flavour, Mount, in_time, sftpfs_command, sshfs_command
from tests.servers.checks import CHECKS
from tests.servers.judging import Outcome, Verdict, judge
from tests.servers.packages import Store
from tests.servers.place import Account
from tests.servers.server import Server
from tests.servers.traits import excused

CHECK_LIMIT = 60.0
"""Seconds for one check; what takes longer hangs."""

ALIVE_LIMIT = 10.0

CONTESTANTS: dict[str, tuple[Flavour, tuple[str, ...]]] = {
    "sftpfs": (sftpfs_command, ("negative_timeout=0",)),
    "sshfs": (sshfs_command, ("reconnect",)),
}
"""Name → how it mounts, with which options besides those that get in."""

LAST = "unmount"
"""A check of the runner's own: what was written last is there after an unmount that ended well."""

NAMES = (*CHECKS, LAST)


class Hung(Exception):
    """A check did not end."""


class Worker(HelperProcess):
    """The process that runs checks; ``cut`` in its name resets the connections of ``link``."""

    def __init__(self, folder: Path, link: HelperProcess | None = None) -> None:
        super().__init__("tests.servers.worker")
        self.scratch = folder / "scratch"
        self.link = link

    def check(self, name: str, here: Path, there: Path) -> Account:
        """Run one. Hung where it does not end."""
        request = {"check": name, "here": str(here), "there": str(there), "scratch": str(self.scratch)}
        while True:
            self._send(request)
            reply = self._line()
            if "wanted" not in reply:
                return Account(**reply | {"seen": [tuple(entry) for entry in reply["seen"]]})
            if self.link is not None:
                self.link.ask(str(reply["wanted"]))
            request = {}

    def _send(self, request: dict[str, str]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def _line(self) -> dict[str, Any]:
        pipe = self.process.stdout
        assert pipe is not None
        readable, _, _ = select.select([pipe], [], [], CHECK_LIMIT)
        line = pipe.readline() if readable else b""
        if not line:
            raise Hung(f"not done within {CHECK_LIMIT:.0f} s")
        reply: dict[str, Any] = json.loads(line)
        return reply


def corner(name: str) -> str:
    """Where a check works, below what is served: made as it begins: nothing of it was listed ahead."""
    return f"{name}/place"


def local_accounts(folder: Path, names: Iterable[str]) -> dict[str, Account]:
    """What each check says of a local directory: there, none of them fails."""
    names = [name for name in names if name != LAST]
    served = folder / "served"
    served.mkdir(parents=True)
    with Worker(folder) as worker:
        found = {}
        for name in names:
            place = served / corner(name)
            found[name] = worker.check(name, place, place)
    for name, account in found.items():
        assert not account.error and not account.damage, f"{name} on a local directory: {account}"
    return found


class Trial:
    """``server`` under ``contestant``. What breaks is made anew for the next check."""

    def __init__(self, server: type[Server], contestant: str, folder: Path, store: Store) -> None:
        self.kind = server
        self.contestant = contestant
        self.folder = folder
        self.store = store
        self._round = 0

    def run(self, names: list[str], local: dict[str, Account]) -> Iterator[tuple[str, Outcome]]:
        """Outcomes in turn, each as the traits of the server excuse it."""
        left = list(names)
        while left:
            for name, outcome in self._round_of(list(left), local):
                left.remove(name)
                yield name, excused(self.kind.traits, name, outcome)

    def _round_of(self, names: list[str], local: dict[str, Account]) -> Iterator[tuple[str, Outcome]]:
        """Those of ``names`` that come before the server, the mount or the worker has to be made anew."""
        self._round += 1
        folder = self.folder / f"round{self._round}"
        served = folder / "served"
        served.mkdir(parents=True)
        with ExitStack() as stack:
            server = self.kind(folder / "server", self.store)
            stack.enter_context(server.running(served))
            try:
                worker, mount = self._start(stack, server, folder, served)
            except AssertionError as problem:
                for name in names:
                    yield name, Outcome(Verdict.REFUSED, f"not mounted: {problem}"[:1500])
                return
            for name in names:
                if name == LAST:
                    yield name, self._unmount(mount, served)
                    return
                try:
                    found = worker.check(name, mount.path / corner(name), served / corner(name))
                except Hung as problem:
                    mount.kill()
                    yield name, Outcome(Verdict.HANG, str(problem))
                    return
                gone = self._gone(mount)
                if gone:
                    yield name, Outcome(Verdict.HANG, f"{gone} after: {judge(local[name], found).what}")
                    return
                yield name, judge(local[name], found)

    def _start(self, stack: ExitStack, server: Server, folder: Path, served: Path) -> tuple[Worker, Mount]:
        link = stack.enter_context(HelperProcess("tests.harness.link_server", str(server.port)))
        worker = stack.enter_context(
            Worker(folder, link)
        )  # ends behind the mount: what hangs in it is then freed
        flavour, more = CONTESTANTS[self.contestant]
        spec = f"root@127.0.0.1:{server.path_of(served)}"
        mount = Mount(spec, folder / "mnt", served, [*server.options(link.port), *more], flavour=flavour)
        stack.enter_context(_closing(mount))
        return worker, mount

    def _gone(self, mount: Mount) -> str:
        """Why the mount is of no more use, if it is."""
        if mount.process.poll() is not None:
            return f"the mount ended with {mount.process.returncode}"
        try:
            result, _ = in_time(lambda: os.stat(mount.path), ALIVE_LIMIT)
        except AssertionError:
            mount.kill()
            return "the mount does not answer"
        return f"the mount gives {result}" if isinstance(result, OSError) else ""

    def _unmount(self, mount: Mount, served: Path) -> Outcome:
        """Write, unmount at once, and look."""
        data = os.urandom(100_000)
        (served / corner(LAST)).mkdir(parents=True)
        last = mount.path / corner(LAST) / "last"
        try:
            last.write_bytes(data)
            mount.unmount()
        except AssertionError as problem:
            return Outcome(Verdict.REFUSED, str(problem)[-1500:])
        except subprocess.TimeoutExpired:
            return Outcome(Verdict.HANG, "its process does not end")
        except OSError as problem:
            return Outcome(Verdict.REFUSED, str(problem))
        same = (served / corner(LAST) / "last").read_bytes() == data
        return Outcome(Verdict.OK) if same else Outcome(Verdict.LIE, "the last bytes are not on the server")


@contextmanager
def _closing(mount: Mount) -> Iterator[None]:
    """End a mount in whatever state it is."""
    try:
        yield
    finally:
        with suppress(AssertionError):
            mount.close(clean=False)
