"""Programs that work in the mount: git, a database, editors, filters."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import closing

from tests.servers.checks.names import tree
from tests.servers.checks.registry import check, content
from tests.servers.place import Place, ProgramFailed

GIT = "git -c user.name=a -c user.email=a@b -c init.defaultBranch=main -c gc.auto=0"


@check
def git_init_and_commit(place: Place) -> None:
    place.shell(f"{GIT} init -q r; cd r; echo 1 > one; {GIT} add one; {GIT} commit -qm first")
    place.saw("log", place.shell(f"cd {place.there}/r; {GIT} log --format=%s"))
    place.saw("status", place.shell(f"cd {place.there}/r; {GIT} status --short; {GIT} fsck --strict"))


@check
def git_commit_twice(place: Place) -> None:
    place.shell(f"cd {place.there}; {GIT} init -q r; cd r; echo 1 > one; {GIT} add .; {GIT} commit -qm first")
    place.shell(
        f"cd r; echo 2 >> one; echo 3 > three; {GIT} add .; {GIT} commit -qm second; {GIT} checkout -q HEAD~1"
    )
    place.saw("log", place.shell(f"cd {place.there}/r; {GIT} log --all --format=%s; {GIT} fsck --strict"))
    place.saw("files", place.shell(f"cd {place.there}/r; cat one; ls"))
    place.saw("status", place.shell(f"cd r; {GIT} status --short"))


@check
def git_clone_into_the_mount(place: Place) -> None:
    source = place.scratch / "source"
    source.mkdir()
    for number in range(12):
        (source / f"f{number}").write_bytes(content(number, 3000 * number))
    place.shell(f"cd {source}; {GIT} init -q .; {GIT} add .; {GIT} commit -qm first")
    place.shell(f"{GIT} clone -q --no-local {source} copy")
    place.saw("check", place.shell(f"cd {place.there}/copy; {GIT} fsck --strict; {GIT} status --short"))
    place.run("diff", "-r", "--exclude=.git", source, place.there / "copy")
    place.saw("status here", place.shell(f"cd copy; {GIT} status --short"))


@check
def git_clone_from_the_mount(place: Place) -> None:
    place.shell(f"cd {place.there}; {GIT} init -q r; cd r; echo 1 > one; {GIT} add .; {GIT} commit -qm first")
    place.run(
        "git", "-c", "safe.directory=*", "clone", "-q", "--no-local", place.here / "r", place.scratch / "copy"
    )
    place.saw("content", (place.scratch / "copy" / "one").read_bytes())


@check
def sqlite_database(place: Place) -> None:
    rows = [(number, f"row {number}" * 20) for number in range(400)]
    with closing(sqlite3.connect(place.here / "base")) as base:
        base.execute("create table t (a integer primary key, b text)")
        base.commit()
        for at in range(0, 400, 100):
            base.executemany("insert into t values (?, ?)", rows[at : at + 100])
            base.commit()
        base.execute("delete from t where a % 3 = 0")
        base.commit()
        place.saw("here", base.execute("select count(*), sum(length(b)) from t").fetchone())
    with closing(sqlite3.connect(place.there / "base")) as base:
        place.saw("on the server", base.execute("select count(*), sum(length(b)) from t").fetchone())
        place.saw("whole", base.execute("pragma integrity_check").fetchone())


@check
def sqlite_rolls_back(place: Place) -> None:
    with closing(sqlite3.connect(place.there / "base")) as base:
        base.execute("create table t (a integer)")
        base.execute("insert into t values (1)")
        base.commit()
    with closing(sqlite3.connect(place.here / "base")) as base:
        base.execute("insert into t values (2)")
        base.rollback()
        base.execute("insert into t values (3)")
        base.commit()
    with closing(sqlite3.connect(place.there / "base")) as base:
        place.saw("on the server", base.execute("select a from t order by a").fetchall())
    place.saw("names", tree(place.there))


@check
def save_by_vim(place: Place) -> None:
    before, after = b"one\ntwo\n", b"1\ntwo\n"
    (place.there / "text").write_bytes(before)
    place.guard("text", before, after)
    save = ("vim", "-u", "NONE", "-i", "NONE", "-es", "-c", "%s/one/1/", "-c", "wq", place.here / "text")
    try:
        place.run(*save)
    except ProgramFailed:  # its status is all it says
        raise OSError(errno.EIO, "not saved") from None
    place.saw("on the server", (place.there / "text").read_bytes())
    place.saw("names", tree(place.there))


@check
def save_by_a_temporary_file(place: Place) -> None:
    """Write beside, fsync, rename over: as most editors do."""
    (place.there / "text").write_bytes(b"old")
    place.guard("text", b"old", *(content(number, 20_000) for number in range(4)))
    script = (
        "import os, sys; f = open('t.new', 'wb'); f.write(sys.stdin.buffer.read()); f.flush(); "
        "os.fsync(f.fileno()); f.close(); os.rename('t.new', 'text')"
    )
    for number in range(4):
        (place.scratch / "new").write_bytes(content(number, 20_000))
        place.shell(f'python3 -c "{script}" < {place.scratch}/new')
        place.saw("on the server", (place.there / "text").read_bytes())
        place.saw("here", (place.here / "text").read_bytes())
    place.saw("names", tree(place.there))


@check
def save_with_a_backup(place: Place) -> None:
    (place.there / "text").write_bytes(b"old")
    place.shell("mv text text~; echo new > text")
    place.saw("text", (place.there / "text").read_bytes())
    place.saw("backup", (place.there / "text~").read_bytes())


@check
def sed_in_place(place: Place) -> None:
    (place.there / "text").write_bytes(b"one\n" * 5000)
    place.guard("text", b"one\n" * 5000, b"two\n" * 5000)
    place.shell("sed -i s/one/two/ text")
    place.saw("on the server", (place.there / "text").read_bytes())
    place.saw("names", tree(place.there))


@check
def gzip_and_gunzip(place: Place) -> None:
    (place.there / "text").write_bytes(b"many of these lines\n" * 10_000)
    place.shell("gzip text; gzip -t text.gz; gunzip text.gz")
    place.saw("on the server", (place.there / "text").read_bytes())
    place.saw("names", tree(place.there))


@check
def sort_onto_itself(place: Place) -> None:
    lines = b"".join(b"%d\n" % (number * 7919 % 5000) for number in range(5000))
    (place.there / "text").write_bytes(lines)
    place.shell("LC_ALL=C sort -n text -o text")
    place.saw("on the server", (place.there / "text").read_bytes())


@check
def shell_that_writes_in_turns(place: Place) -> None:
    place.shell("{ echo one; echo two; seq 1000; echo three; } > out; echo four >> out; wc -l < out > count")
    place.saw("out", (place.there / "out").read_bytes())
    place.saw("count", (place.there / "count").read_bytes())


@check
def make_a_target(place: Place) -> None:
    (place.there / "Makefile").write_text("out: in\n\tcp in out\n\tcat in >> out\n")
    (place.there / "in").write_text("input\n")
    place.shell("make -s; make -s")
    place.saw("on the server", (place.there / "out").read_bytes())


@check
def find_and_grep(place: Place) -> None:
    for number in range(30):
        (place.there / f"d{number % 3}").mkdir(exist_ok=True)
        (place.there / f"d{number % 3}" / f"f{number}").write_text(f"text {number}\n")
    place.saw("found", place.shell("find . -type f -size -1k | sort; find . -type f | sort"))
    place.saw("grep", place.shell("grep -r 'text 2' . | sort"))
