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
    return World(
        one_way=make.pick(0.0005, 0.02),
        lease=make.pick(*SHORT),
        listed=make.pick(1, 2),
        shown=make.pick(2000, 1),
    )


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


def dated(make: Maker, count: int) -> World:
    """Times are set on files that are being written, as cp -p does, and written to after that."""
    names = ("f", "g", "h")
    make.before("put", "f", "sf", 20_000)
    for _ in range(count):
        who, slot, name = make.pick("A", "A", "B"), make.pick("1", "2"), make.pick(*names)
        pause = make.pick(0.0, 0.0, 0.0, 0.001, 0.03, 0.7, 1.2, 2.5)
        match make.rng.randrange(20):
            case 0 | 1 | 2:
                make.step(who, "open", slot, name, make.pick("rw", "w", "x", "r+", "a", "r"), pause=pause)
            case 3 | 4 | 5 | 6 | 7:
                offset, size = make.pick(0, 0, 100, 5000), make.pick(1, 100, 5000, 20_000)
                make.step(who, "pwrite", slot, offset, make.tag(), size, pause=pause)
            case 8 | 9 | 10 | 11:
                make.step(who, "futime", slot, 1_600_000_000 + make.rng.randrange(99), pause=pause)
            case 12:
                make.step(who, "utime", name, 1_600_000_000 + make.rng.randrange(99), pause=pause)
            case 13:
                make.step(who, "chmod", name, make.pick(0o644, 0o600, 0o755), pause=pause)
            case 14:
                make.step(who, make.pick("fsync", "child"), slot, pause=pause)
            case 15 | 16:
                make.step(who, "close", slot, pause=pause)
            case 17:
                make.step(who, "stat", name, pause=pause)
            case 18:
                make.step(who, "unlink", name, pause=pause)
            case _:
                make.step(who, "ftruncate", slot, make.pick(0, 50, 5000), pause=pause)
    return World(one_way=make.pick(0.0005, 0.02), connections=make.pick(1, 3), divide=make.pick(1, 16))


def beside(make: Maker, count: int) -> World:
    """Others change a file that a program here never stops writing; it is opened again and again (C10)."""
    make.before("put", "f", "sf", 40_000)
    places = (8750, 12_500, 18_750)
    make.step("A", "open", "1", "f", make.pick("r+", "rw", "a"), pause=0.0)
    for _ in range(count // 4):
        times, pause = make.pick(10, 30), make.pick(0.1, 0.3)
        make.step("A", "trickle", "1", make.pick(0, 5000), make.tag(), 16, times, pause, pause=0.0)
    for _ in range(count):
        who, slot = make.pick("B", "C"), "1"
        match make.rng.randrange(8):
            case 0 | 1 | 2:
                make.step(who, "open", slot, "f", make.pick("r", "r", "r+"))
            case 3 | 4 | 5:
                make.step(who, "pread", slot, make.pick(*places), 4096)
            case 6:
                make.step("X", "scribble", "f", make.pick(*places), make.tag(), 100)
            case _:
                make.step(who, "stat", "f")
    return World(one_way=make.pick(0.0, 0.0005, 0.02), divide=16, proc=make.pick(True, False))


def entered(make: Maker, count: int) -> World:
    """Names come, go and are linked in directories that are just being listed ahead, as somebody looks into
    them: nothing of the kernel's keeps the two apart."""
    for name in ("d", "e"):
        make.before("mkdir", name)
        for index in range(16):
            make.before("put", f"{name}/f{index}", f"s{index}", 20)
    for _ in range(count // 4):
        d, e, who = make.pick("d", "e"), make.pick("d", "e"), make.pick("A", "B")
        name, new = f"{d}/f{make.rng.randrange(4)}", f"{make.pick(d, d, e)}/{make.pick('n0', 'n1', 'f1')}"
        make.step("C", "stat", f"{e}/{make.pick('f2', 'f3', 'n0', 'n2')}")
        change = make.pick(
            ("rename", name, new), ("link", name, new), ("unlink", name), ("save", name, "1", 9)
        )
        make.step(who, *change, pause=make.pick(0.0, 0.01, 0.03, 0.06))
        make.step(who, make.pick("stat", "read"), new, pause=make.pick(0.03, 0.1, 0.3))
        make.step(who, *make.pick(("stat", name), ("list", d, 4096, 0.0)), pause=make.pick(0.0, 0.1, 0.7))
    lease, forget = make.pick(20.0, *SHORT), make.pick(0.0, 0.2, 1.0)
    return World(one_way=0.02, lease=lease, listed=1, forget=forget, shown=make.pick(2000, 1, 4))
