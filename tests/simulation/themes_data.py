"""Kinds of scenarios about content: logs of two clients, and megabytes on their way; see ``themes``."""

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
