"""The kinds of scenarios: each a bias towards what one kind of fault needs."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.scenario import Maker, World
from tests.simulation.themes_data import SHORT, beside, bulk, dated, direct, entered, linked, logs
from tests.simulation.themes_outages import holes, limited, power, signals, sleep


def listings(make: Maker, count: int) -> World:
    """Directories of more names than the cache is to keep, listed, forgotten and changed meanwhile."""
    bound = make.pick(8, 16, 40)
    dirs = [f"d{i}" for i in range(make.pick(2, 3, 5))]
    size = make.pick(bound // 2, bound, bound * 2)
    for name in dirs:
        make.before("mkdir", name)
        for index in range(size):
            make.before("put", f"{name}/f{index:03}", f"s{index}", 20)
    rooms = make.pick((600,), (600, 2000), (4096,), (32768,))
    for _ in range(count):
        who = make.pick("A", "A", "B", "C")
        d = make.pick(*dirs)
        name = f"{d}/{make.pick(f'f{make.rng.randrange(size + 2):03}', 'g1', 'g2', 'sub')}"
        verb = make.rng.randrange(17)
        if verb < 5:
            make.step(who, "list", d, make.pick(*rooms), make.pick(0.0, 0.0, 0.1))
        elif verb == 16:
            make.step("N", "trap", "readdir", make.pick("before", "after"), 0.0, make.pick(0, 3, 8))
        elif verb < 7:
            make.step(who, "stat", name)
        elif verb == 7:
            make.step(who, "write", name, "w", make.tag(), make.pick(5, 40))
        elif verb == 8:
            make.step(who, "unlink", name)
        elif verb == 9:
            make.step(who, "mkdir", f"{d}/sub{make.rng.randrange(3)}")
        elif verb == 10:
            make.step(who, "rename", name, f"{make.pick(*dirs)}/{make.pick('g1', 'g2', 'sub', 'f001')}")
        elif verb == 11:
            make.step(who, "save", name, make.tag(), 30)
        elif verb == 12:
            make.step("X", "fill", d, f"n{make.tag()}-", make.pick(2, 3, bound))
        elif verb == 13:
            make.step("N", "forget", make.pick(0.3, 1.0))
        elif verb == 14:
            make.step(who, "read", name)
        else:
            make.step(who, "rmdir", f"{d}/sub{make.rng.randrange(3)}")
    one_way, forget = make.pick(0.0, 0.0005, 0.02), make.pick(0.0, 0.02, 0.2)
    lease = make.pick(20.0, *SHORT)
    listed, shown = make.pick(100, 2), make.pick(2000, 1, 4)
    return World(
        one_way=one_way,
        bound=bound,
        forget=forget,
        chunk_rooms=rooms,
        lease=lease,
        listed=listed,
        shown=shown,
    )


NAMES = ("a", "b", "c", "d/a", "d/b")


def links(make: Maker, count: int) -> World:
    """Names of one file, linked here; replaced and changed by another client and here."""
    make.before("mkdir", "d")
    for name in NAMES[:2]:
        make.before("put", name, f"s{name}", make.size())
    for _ in range(count):
        who = make.pick("A", "B")
        name, other = make.pick(*NAMES), make.pick(*NAMES)
        slot = make.pick("1", "2")
        verb = make.rng.randrange(24)
        if verb < 3:
            make.step(who, "link", name, other)
        elif verb < 6:
            make.step("X", "replace", name, make.tag(), make.size())
        elif verb == 6:
            make.step("X", "put", name, make.tag(), make.size())
        elif verb < 9:
            make.step(who, "read", name)
        elif verb < 11:
            make.step(who, "stat", name)
        elif verb == 11:
            make.step(who, "write", name, make.pick("r+", "w", "rw"), make.tag(), make.size())
        elif verb == 12:
            make.step(who, "open", slot, name, make.pick("r", "r+", "rw"))
        elif verb == 13:
            make.step(who, "pread", slot, 0, 65536)
        elif verb == 14:
            make.step(who, "pwrite", slot, make.pick(0, 100), make.tag(), make.pick(10, 300))
        elif verb == 15:
            make.step(who, "close", slot)
        elif verb == 16:
            make.step(who, "chmod", name, make.pick(0o644, 0o600, 0o640))
        elif verb == 17:
            make.step(who, "utime", name, make.pick(1_600_000_000, 1_650_000_000))
        elif verb == 18:
            make.step(who, "unlink", name)
        elif verb == 19:
            make.step(who, "rename", name, other)
        elif verb == 20:
            make.step(who, "list", make.pick("", "d"), 4096, 0.0)
        elif verb < 23:
            times, pause = make.pick(5, 30), make.pick(0.1, 0.01)
            make.step(who, "trickle", slot, make.pick(0, 3000), make.tag(), 16, times, pause)
        else:
            make.step(who, "truncate", name, make.pick(0, 5, 2000))
    one_way, forget = make.pick(0.0, 0.0005, 0.02), make.pick(0.0, 0.1)
    return World(one_way=one_way, forget=forget, lease=make.pick(20.0, *SHORT))


def renames(make: Maker, count: int) -> World:
    """Programs work in directories that are renamed by others."""
    make.before("mkdir", "p")
    make.before("mkdir", "p/x")
    for index in range(4):
        make.before("put", f"p/f{index}", f"s{index}", 100)
    for index in range(make.pick(0, 12)):
        make.before("put", f"p/x/g{index}", f"s{index}", 100)
    make.step("B", "chdir", "p", pause=0.0)
    make.step("C", "chdir", "p", pause=0.0)
    cuts = {make.rng.randrange(count) for _ in range(make.pick(0, 0, 1, 2))}
    for index in range(count):
        verb = 14 if index in cuts else make.rng.randrange(14)
        who = make.pick("B", "C")
        name = make.pick("f0", "f1", "f2", "x", "x/f", f"n{make.rng.randrange(4)}")
        pause = make.pick(0.0, 0.0, 0.01, 0.1)
        if verb < 3:
            old, new = make.pick(("p", "q"), ("q", "p"))
            make.step("A", "rename", old, new, pause=pause)
        elif verb < 5:
            make.step(who, "write", name, make.pick("w", "x", "rw"), make.tag(), 30, pause=pause)
        elif verb == 5:
            make.step(who, "unlink", name, pause=pause)
        elif verb == 6:
            make.step(who, make.pick("mkdir", "rmdir"), make.pick("x", "y"), pause=pause)
        elif verb == 7:
            make.step(who, "stat", name, pause=pause)
        elif verb == 8:
            make.step(who, "read", name, pause=pause)
        elif verb == 9:
            make.step(who, "rename", name, make.pick("f1", "f3", "x/f", "n1"), pause=pause)
        elif verb == 10:
            make.step(who, "chmod", name, make.pick(0o700, 0o750), pause=pause)
        elif verb == 11:
            make.step(who, "link", name, make.pick("n0", "n2"), pause=pause)
        elif verb == 12:
            make.step(who, "list", make.pick("x", "x", ""), 4096, 0.0, pause=pause)
        elif verb == 14:
            kind, when = make.pick("lstat", "opendir", "readdir"), make.pick("before", "after")
            make.step("N", "trap", kind, when, 0.0, make.pick(0, 3), pause=pause)
        else:
            make.step("N", "forget", 0.5, pause=pause)
    one_way, lease, listed = make.pick(0.0005, 0.02, 0.1), make.pick(20.0, *SHORT), make.pick(100, 1)
    shown = make.pick(2000, 1, 4)
    return World(one_way=one_way, lease=lease, listed=listed, forget=0.02, shown=shown)


def resets(make: Maker, count: int) -> World:
    """Connections are cut under writes, by one handle or two, and others change files meanwhile."""
    files = ("f", "g", "log")
    for name in files:
        make.before("put", name, f"s{name}", make.size())
    for _ in range(count):
        who = make.pick("A", "B")
        slot = make.pick("1", "2")
        verb = make.rng.randrange(24)
        name = make.pick(*files)
        if verb < 3:
            make.step(
                "N",
                "trap",
                make.pick("write", "fsync", "open", "fstat", "any", "close", "lstat", "fsetstat", "read"),
                make.pick("before", "after"),
                make.pick(0.0, 0.0, 0.5, 2.0),
                make.pick(0, 0, 1, 3),
            )
        elif verb == 3:
            make.step("N", "cut", make.pick(0.0, 0.5, 2.0))
        elif verb < 6:
            make.step(who, "open", slot, name, make.pick("r", "r+", "r+", "rw", "a"))
        elif verb < 11:
            make.step(who, "pwrite", slot, make.pick(0, 100, 5000), make.tag(), make.size())
        elif verb == 11:
            make.step(who, "ftruncate", slot, make.pick(0, 50, 3000))
        elif verb < 14:
            make.step(who, "fsync", slot)
        elif verb == 14:
            make.step(who, "close", slot)
        elif verb == 15:
            make.step(who, "pread", slot, 0, 65536)
        elif verb == 16:
            make.step(who, "read", name)
        elif verb == 17:
            make.step(who, "write", name, make.pick("w", "r+", "a"), make.tag(), make.size(), True)
        elif verb == 18:
            make.step(who, "stat", name)
        elif verb == 19:
            make.step(who, "utime", name, make.pick(1_600_000_000, 1_800_000_000))
        elif verb == 20:
            make.step(who, make.pick("rename", "link"), name, make.pick("f", "h"))
        elif verb == 21:
            make.step(who, make.pick("mkdir", "rmdir"), make.pick("x", "y"))
        elif verb == 22:
            make.step(who, "unlink", make.pick("h", "g"))
        else:
            make.step("N", "sleep", make.pick(1.0, 3.0))
    return World(one_way=make.pick(0.0, 0.0005, 0.02), connections=make.pick(1, 3), timeout=10.0)


def errors(make: Maker, count: int) -> World:
    """The server refuses writes; children close what they inherited."""
    for name in ("f", "g"):
        make.before("put", name, f"s{name}", make.size())
    for _ in range(count):
        who = make.pick("A", "B")
        slot = make.pick("1", "2")
        verb = make.rng.randrange(16)
        name = make.pick("f", "g", "h")
        if verb < 2:
            make.step(
                "N",
                "refuse",
                make.pick("write", "write", "fsync", "fsetstat"),
                make.pick("ENOSPC", "EACCES", "EIO"),
                make.pick(1, 1, 3),
            )
        elif verb < 5:
            make.step(who, "open", slot, name, make.pick("r+", "rw", "r", "a"))
        elif verb < 9:
            make.step(who, "pwrite", slot, make.pick(0, 4096, 100_000), make.tag(), make.size())
        elif verb == 9:
            make.step(who, "child", slot)
        elif verb < 12:
            make.step(who, "fsync", slot)
        elif verb == 12:
            make.step(who, "close", slot)
        elif verb == 13:
            make.step(
                who, "write", name, make.pick("w", "r+", "a"), make.tag(), make.size(), make.pick(True, False)
            )
        elif verb == 14:
            make.step(who, "read", name)
        else:
            make.step(who, "stat", name)
    return World(one_way=make.pick(0.0, 0.0005, 0.02))


def sharing(make: Maker, count: int) -> World:
    """Two clients write the same files, now and then at the same time."""
    for name in ("f", "log"):
        make.before("put", name, f"s{name}", make.size())
    for _ in range(count):
        who = make.pick("A", "B")
        verb = make.rng.randrange(14)
        name = make.pick("f", "log")
        if verb < 3:
            make.step("X", make.pick("put", "append", "poke"), name, make.tag(), make.pick(16, 1000))
        elif verb < 6:
            make.step(who, "read", name)
        elif verb == 6:
            make.step(who, "open", "1", name, make.pick("r+", "a", "r"))
        elif verb < 9:
            make.step(
                who,
                "trickle",
                "1",
                make.pick(0, 3000),
                make.tag(),
                16,
                make.pick(5, 30),
                make.pick(0.1, 0.01),
            )
        elif verb == 9:
            make.step(who, "write", name, make.pick("w", "r+", "a"), make.tag(), make.size())
        elif verb == 10:
            make.step(who, "close", "1")
        elif verb == 11:
            make.step(who, "stat", name)
        elif verb == 12:
            make.step(who, "fsync", "1")
        else:
            make.step("X", "replace", name, make.tag(), make.size())
    return World(one_way=make.pick(0.0, 0.0005, 0.05))


def clocks(make: Maker, count: int) -> World:
    """Clocks apart, and one that steps; changes within one second."""
    make.before("mkdir", "d")
    for name in ("f", "d/g"):
        make.before("put", name, f"s{name}", 100)
    for _ in range(count):
        who = make.pick("A", "B")
        verb = make.rng.randrange(12)
        name = make.pick("f", "d/g", "d/h", "d/i")
        if verb < 3:
            make.step(
                "X", make.pick("put", "put", "remove", "replace"), name, make.tag(), make.pick(100, 100, 200)
            )
        elif verb < 5:
            make.step(who, "read", name)
        elif verb < 7:
            make.step(who, "stat", name)
        elif verb == 7:
            make.step(who, "list", "d", 4096, 0.0)
        elif verb == 8:
            make.step(who, "write", name, "w", make.tag(), 100)
        elif verb == 9:
            make.step("N", "clock", make.pick(-10.0, 10.0, 3600.0, -3600.0, 0.0))
        elif verb == 10:
            make.step("N", "trap", make.pick("mkdir", "open", "remove"), "after", 0.0, 0)
            make.step(who, make.pick("mkdir", "unlink"), make.pick("d/m", "d/i"))
        else:
            make.step(who, "stat", name, pause=make.pick(3.0, 10.0, 25.0))
    return World(
        one_way=make.pick(0.0, 0.02),
        wall_offset=make.pick(0.0, 10.0, -10.0, 3600.0),
        proc=make.pick(True, False),
    )


def unknown(make: Maker, count: int) -> World:
    """Changes of names whose replies are lost."""
    make.before("mkdir", "d")
    for name in ("a", "b", "d/c"):
        make.before("put", name, f"s{name}", 100)
    names = ("a", "b", "d/c", "d/e", "h")
    for _ in range(count):
        who = make.pick("A", "B")
        slot = make.pick("1", "2")
        verb = make.rng.randrange(19)
        if verb < 3:
            kinds = "mkdir", "open", "remove", "rmdir", "posix-rename", "hardlink", "setstat", "lstat", "any"
            refused = make.pick(0.0, 0.0, 1.0, 11.0, 25.0)
            make.step("N", "trap", make.pick(*kinds), make.pick("before", "after"), refused, 0)
        elif verb < 5:
            make.step(who, "rename", make.pick(*names), make.pick(*names))
        elif verb == 5:
            make.step(who, "mkdir", make.pick("d/e", "h", "x"))
        elif verb == 6:
            make.step(who, "unlink", make.pick(*names))
        elif verb == 7:
            make.step(who, "rmdir", make.pick("d/e", "h", "x"))
        elif verb == 8:
            make.step(who, "link", make.pick(*names), make.pick(*names))
        elif verb == 9:
            make.step(who, "write", make.pick(*names), make.pick("w", "x"), make.tag(), 50)
        elif verb == 10:
            make.step(who, "read", make.pick(*names))
        elif verb == 11:
            make.step(who, "stat", make.pick(*names, "x"))
        elif verb == 12:
            make.step(who, "list", make.pick("", "d"), 4096, 0.0)
        elif verb == 13:
            make.step("N", "forget", 0.5)
        elif verb == 14:
            make.step(who, "open", slot, make.pick(*names), make.pick("r", "r+", "rw"))
        elif verb == 15:
            make.step(who, *make.pick(("pread", slot, 0, 100), ("close", slot)))
        elif verb == 16:
            make.step(who, "pwrite", slot, make.pick(0, 60), make.tag(), 30)
        elif verb == 17:
            make.step(who, "chmod", make.pick(*names), make.pick(0o600, 0o640))
        else:
            make.step(who, "truncate", make.pick(*names), make.pick(0, 30))
    return World(
        one_way=make.pick(0.0, 0.0005, 0.02), connections=make.pick(1, 3), forget=make.pick(0.0, 0.1)
    )


def symlinks(make: Maker, count: int) -> World:
    """Symbolic links are made, read, moved and replaced, here and by another client."""
    make.before("mkdir", "d")
    make.before("put", "f", "sf", 100)
    for name in ("l", "d/l"):
        make.before("symlink", "f", name)
    names = ("l", "d/l", "m", "f")
    for _ in range(count):
        who, name = make.pick("A", "B"), make.pick(*names)
        match make.rng.randrange(15):
            case 0 | 1:
                make.step(who, "symlink", make.pick("f", "l", f"t{make.tag()}"), name)
            case 2 | 3 | 4:
                make.step(who, "readlink", name)
            case 5:
                make.step(who, "stat", name)
            case 6:
                make.step(who, "unlink", name)
            case 7 | 8:
                make.step(who, "rename", name, make.pick(*names))
            case 9:
                make.step("X", "symlink", make.pick("f", f"t{make.tag()}"), name)
            case 10:
                make.step("X", make.pick("remove", "replace"), name, make.tag(), 100)
            case 11:
                make.step(who, "list", make.pick("", "d"), 4096, 0.0)
            case 12:
                make.step(who, "write", name, make.pick("w", "r+", "x"), make.tag(), 50)
            case 13:
                make.step("N", "trap", make.pick("symlink", "any"), make.pick("before", "after"), 0.0, 0)
            case _:
                make.step("N", "forget", 0.5)
    return World(one_way=make.pick(0.0, 0.0005, 0.02), forget=make.pick(0.0, 0.1), lease=make.pick(20.0, 0.0))


THEMES: dict[str, Callable[[Maker, int], World]] = {
    "listings": listings,
    "links": links,
    "linked": linked,
    "renames": renames,
    "resets": resets,
    "errors": errors,
    "sharing": sharing,
    "clocks": clocks,
    "unknown": unknown,
    "logs": logs,
    "bulk": bulk,
    "direct": direct,
    "dated": dated,
    "beside": beside,
    "entered": entered,
    "symlinks": symlinks,
    "holes": holes,
    "limited": limited,
    "power": power,
    "signals": signals,
    "sleep": sleep,
}
