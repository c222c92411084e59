"""Kinds of scenarios about what happens to machines and to what lies between; see ``themes``."""

from __future__ import annotations

from tests.simulation.scenario import Maker, World

FILES = ("f", "g", "log")


def holes(make: Maker, count: int) -> World:
    """Nothing passes for a while, on one connection or on all; then it goes on, or is cut."""
    _files(make)
    for _ in range(count):
        if make.rng.randrange(10) == 0:
            seconds = make.pick(0.5, 2.0, 5.0, 8.0, 15.0, 40.0)
            which, way = make.pick(None, None, 0, 1), make.pick("both", "both", "answers")
            make.step("N", "hole", which, way, seconds, make.pick(False, False, True))
        else:
            _work(make)
    return World(one_way=make.pick(0.0, 0.0005, 0.02), connections=make.pick(1, 3), timeout=10.0)


def limited(make: Maker, count: int) -> World:
    """Content keeps to a limit by which a file takes longer than the deadline; others work beside it, and
    connections end."""
    _files(make)
    make.before("put", "k", "sk", 100_000)
    for _ in range(count):
        who = make.pick("A", "B")
        match make.rng.randrange(12):
            case 0 | 1:
                make.step(who, "read", "k")
            case 2:
                how, sync = make.pick("w", "r+", "a"), make.pick(True, False)
                make.step(who, "write", "k", how, make.tag(), 60_000, sync)
            case 3:
                make.step("N", "cut", make.pick(0.3, 1.0))
            case _:
                _work(make)
    rate, connections = make.pick(8e3, 30e3, 200e3), make.pick(1, 3)
    return World(one_way=make.pick(0.0005, 0.02), connections=connections, timeout=3.0, bandwidth=rate)


def power(make: Maker, count: int) -> World:
    """The server's machine loses its power: what was not synced may be gone, partly; it is back after a
    while."""
    _files(make)
    make.before("put", "k", "sk", 70_000)
    for _ in range(count):
        match make.rng.randrange(24):
            case 0 | 1:
                make.step("N", "power", *_loss(make), pause=make.pick(0.0, 0.1, 6.0))
            case 2:
                _forgotten(make)
            case _:
                _work(make)
    return World(one_way=make.pick(0.0, 0.0005, 0.02), connections=make.pick(1, 3), divide=16, proc=True)


def _loss(make: Maker) -> tuple[float, bool, int]:
    return make.pick(0.5, 2.0, 5.0, 30.0), make.pick(True, False), make.rng.randrange(1 << 20)


def _forgotten(make: Maker) -> None:
    """What was written within a file is acknowledged, and lost before anybody asked what the file is like
    since. Another open may be the first to meet it as it came back."""
    who, slot = make.pick("A", "B"), make.pick("1", "2")
    make.step(who, "open", slot, "k", "r+")
    make.step(who, "pwrite", slot, make.pick(0, 20_000), make.tag(), 20_000, pause=make.pick(0.0, 5.0))
    make.step(who, "power", *_loss(make), pause=0.5)
    if make.pick(True, False):
        make.step(who, "read", "k")
    make.step(who, "fsync", slot)


def signals(make: Maker, count: int) -> World:
    """Programs are killed in what they do."""
    _files(make)
    for _ in range(count):
        match make.rng.randrange(12):
            case 0:
                make.step("N", "kill", make.pick("A", "B"), pause=make.pick(0.0, 0.001, 0.01, 0.03, 0.1))
            case 1:
                make.step("N", "trap", "any", make.pick("before", "after"), 0.0, make.pick(0, 3))
            case _:
                _work(make)
    return World(one_way=make.pick(0.0005, 0.02), connections=make.pick(1, 3), timeout=10.0)


def sleep(make: Maker, count: int) -> World:
    """This machine sleeps while others change files; its connections are there afterwards, or not.

    Only ``k``, which nobody writes here, leads to another file meanwhile: one that does while writes are
    under way may be taken for the file they are for (SEMANTICS, A dead server)."""
    _files(make)
    make.before("put", "k", "sk", make.size())
    for _ in range(count):
        verb = make.rng.randrange(12)
        if verb == 0:
            changes = [_foreign(make) for _ in range(make.pick(0, 1, 1, 3))]
            seconds, connections = make.pick(5.0, 60.0, 3600.0), make.pick("alive", "alive", "reset", "lost")
            make.step("N", "suspend", seconds, connections, *changes, pause=make.pick(0.0, 0.1, 3.0))
        elif verb == 1:
            change, *arguments = _foreign(make)
            make.step("X", change, *arguments)
        elif verb < 4:
            make.step(make.pick("A", "B"), make.pick("stat", "read"), "k")
        else:
            _work(make)
    return World(one_way=make.pick(0.0, 0.0005, 0.02), connections=make.pick(1, 3), timeout=10.0)


def _foreign(make: Maker) -> tuple[str, str, str, int]:
    """A change by another client."""
    if make.rng.random() < 0.5:
        return make.pick("put", "append"), make.pick(*FILES), make.tag(), make.size()
    return make.pick("put", "replace", "remove"), "k", make.tag(), make.size()


def _files(make: Maker) -> None:
    make.before("mkdir", "d")
    for name in FILES:
        make.before("put", name, f"s{name}", make.size())


def _work(make: Maker) -> None:
    """Something a program does."""
    who, slot, name = make.pick("A", "B"), make.pick("1", "2"), make.pick(*FILES)
    match make.rng.randrange(18):
        case 0 | 1:
            make.step(who, "open", slot, name, make.pick("r", "r+", "r+", "rw", "a"))
        case 2 | 3 | 4:
            make.step(who, "pwrite", slot, make.pick(0, 100, 5000), make.tag(), make.size())
        case 5:
            make.step(who, "ftruncate", slot, make.pick(0, 50, 3000))
        case 6 | 7:
            make.step(who, "fsync", slot)
        case 8:
            make.step(who, "close", slot)
        case 9:
            make.step(who, "pread", slot, 0, 65536)
        case 10:
            make.step(who, "read", name)
        case 11:
            how, sync = make.pick("w", "r+", "a"), make.pick(True, False)
            make.step(who, "write", name, how, make.tag(), make.size(), sync)
        case 12:
            make.step(who, "stat", make.pick(name, "h", "d/x"))
        case 13:
            make.step(who, "list", make.pick("", "d"), 4096, 0.0)
        case 14:
            make.step(who, make.pick("rename", "link"), make.pick(name, "h"), make.pick("f", "h", "d/h"))
        case 15:
            make.step(who, make.pick("mkdir", "rmdir"), make.pick("d/x", "y"))
        case 16:
            make.step(who, "unlink", make.pick("h", "g", "d/h"))
        case _:
            make.step(who, "save", name, make.tag(), make.size())
