"""Kinds of scenarios about content: logs of two clients, files of several names, and megabytes on their way;
see ``themes``."""

from __future__ import annotations

from tests.simulation.scenario import Maker, World


def logs(make: Maker, count: int) -> World:
    """Two clients append lines to one log; some read it."""
    make.before("put", "log", "slog", 160)
    for _ in range(count):
        who = make.pick("A", "B")
        verb = make.rng.randrange(8)
        if verb < 2:
            make.step("X", "append", "log", make.tag(), make.pick(16, 16, 160))
        elif verb < 4:
            make.step("C", "read", "log")
        elif verb == 4:
            make.step(who, "open", "1", "log", "a")
        elif verb < 7:
            size, times, pause = make.pick(16, 48), make.pick(5, 20), make.pick(0.1, 0.02)
            make.step(who, "trickle", "1", 0, make.tag(), size, times, pause)
        else:
            make.step(who, make.pick("close", "fsync"), "1")
    return World(one_way=make.pick(0.0, 0.0005, 0.05))


SHORT = (1.0, 0.1)
"""Leases (cache_timeout=) that end while others ask: a change of ours comes between a question and its answer
far more often."""


def linked(make: Maker, count: int) -> World:
    """Names of one file are made, changed and looked at here alone, while listings take many round trips."""
    names = ("a", "b", "c", "d")
    for name in ("a", "d", *"efghijkl"):
        make.before("put", name, f"s{name}", 100)
    for _ in range(count):
        who, pause = make.pick("A", "B"), make.pick(0.0, 0.0, 0.01, 0.05, 0.1)
        name, other = make.pick(*names), make.pick(*names)
        match make.rng.randrange(12):
            case 0 | 1:
                make.step(who, "link", name, other, pause=pause)
            case 2 | 3 | 4:
                make.step(who, "list", "", 4096, 0.0, pause=pause)
            case 5:
                make.step(who, "truncate", name, make.pick(7, 100, 200), pause=pause)
            case 6:
                make.step(who, "utime", name, 1_600_000_000 + make.rng.randrange(99), pause=pause)
            case 7:
                make.step(
                    who, "write", name, make.pick("r+", "w"), make.tag(), make.pick(50, 300), pause=pause
                )
            case 8:
                make.step(who, *make.pick(("unlink", name), ("rename", name, other)), pause=pause)
            case 9:
                make.step(who, "stat", name, pause=pause)
            case _:
                make.step(who, "same", name, other, pause=pause)
    return World(one_way=make.pick(0.0005, 0.02), lease=make.pick(*SHORT), listed=make.pick(1, 2))


def bulk(make: Maker, count: int) -> World:
    """Megabytes are written while connections go and come; times are set and files synced behind them. Mostly
    they are sixteenths, and all that is counted in bytes is less as well."""
    divide = make.pick(1, *(16,) * 15)
    for _ in range(max(3, count // (16 if divide == 1 else 6))):
        who = make.pick("A", "B")
        make.step(who, "open", "1", make.pick("f", "g"), make.pick("rw", "w", "x"))
        for _ in range(make.pick(1, 2)):
            if make.rng.random() < 0.7:
                make.step(who, "cut", make.pick(0.3, 1.0, 2.0), pause=0.0)
            else:
                when, skip = make.pick("before", "after"), make.pick(0, 2, 6)
                make.step(who, "trap", make.pick("write", "fsync"), when, 0.5, skip, pause=0.0)
            for _ in range(make.pick(1, 1, 3)):
                size = make.pick(100, 1_500_000 // divide, 2_500_000 // divide)
                make.step(who, "pwrite", "1", make.pick(0, (1 << 18) // divide), make.tag(), size, pause=0.0)
            if make.rng.random() < 0.3:
                make.step(who, "futime", "1", make.pick(1_600_000_000, 1_650_000_000), pause=0.0)
            else:
                make.step(who, "fsync", "1", pause=0.0)
        make.step(who, "close", "1", pause=0.0)
    return World(one_way=make.pick(0.0002, 0.0002, 0.01), connections=make.pick(1, 3), divide=divide)


def direct(make: Maker, count: int) -> World:
    """Writes that are to be on the server when they return (O_SYNC, O_DIRECT), beside others; in half of the
    runs nothing is kept (cache=no)."""
    for name in ("f", "g"):
        make.before("put", name, f"s{name}", make.size())
    for _ in range(count):
        who, slot, name = make.pick("A", "B"), make.pick("1", "2"), make.pick("f", "g", "h")
        match make.rng.randrange(16):
            case 0 | 1 | 2:
                make.step(who, "open", slot, name, make.pick("s", "d", "d", "r+", "r", "a"))
            case 3 | 4 | 5 | 6:
                make.step(who, "pwrite", slot, make.pick(0, 100, 4096, 50_000), make.tag(), make.size())
            case 7 | 8:
                make.step(who, "pread", slot, make.pick(0, 4096), make.pick(100, 65536))
            case 9:
                make.step(who, "ftruncate", slot, make.pick(0, 50, 5000))
            case 10:
                make.step(who, "close", slot)
            case 11:
                make.step("X", make.pick("put", "append"), name, make.tag(), make.size())
            case 12:
                make.step(who, "read", name)
            case 13:
                make.step(who, "stat", name)
            case 14:
                make.step("N", "cut", make.pick(0.0, 0.5))
            case _:
                make.step(who, "write", name, make.pick("w", "r+", "s", "d"), make.tag(), make.size())
    return World(one_way=make.pick(0.0, 0.0005, 0.02), lease=make.pick(20.0, 0.0))
