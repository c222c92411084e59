"""Names that lead elsewhere than they did: another client renamed another file over one that is linked,
open or known here. What is told of a name is believed of the file that has it."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.kernel import opened, read_all
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually

OLD = 1_000_000_000
LATER = 1_100_000_000
CHUNK = 1 << 20
SHORT = "dcache_timeout=1"
LEASE_LIMIT = 15.0


def put(path: Path, data: bytes, changed: int) -> None:
    path.write_bytes(data)
    os.utime(path, (changed, changed))


def replace(path: Path, data: bytes, changed: int = LATER) -> None:
    """As another client's program saves a file."""
    put(path.with_name("fresh"), data, changed)
    path.with_name("fresh").rename(path)


FIRST, SECOND = b"what both names had", b"what one of them has now, longer"


def linked(mount: Mount, *names: str) -> list[Path]:
    """Names of one file made here, its time one that no clock's grain excuses."""
    here = [mount.path / name for name in names]
    here[0].write_bytes(FIRST)
    for name in here[1:]:
        os.link(here[0], name)
    os.utime(here[0], (OLD, OLD))
    return here


def write_beginning(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"WHAT")


def append(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"WHAT")


CHANGES: dict[str, tuple[Callable[[Path], object], Callable[[bytes], bytes]]] = {
    "write": (write_beginning, lambda data: b"WHAT" + data[4:]),
    "append": (append, lambda data: data + b"WHAT"),
    "O_TRUNC": (lambda path: path.write_bytes(b""), lambda data: b""),
    "truncate": (lambda path: os.truncate(path, 3), lambda data: data[:3]),
    "chmod": (lambda path: path.chmod(0o600), lambda data: data),
    "utime": (lambda path: os.utime(path, (5, 5)), lambda data: data),
    "chown": (lambda path: os.chown(path, 1, 1), lambda data: data),
    "link": (lambda path: os.link(path, path.with_name("third")), lambda data: data),
}


@pytest.mark.parametrize("replaced", ["a", "b"])
@pytest.mark.parametrize("what", CHANGES)
def test_a_change_by_one_name_of_a_link_leaves_the_other_alone(
    make_mount: MakeMount, backing: Path, replaced: str, what: str
) -> None:
    """Whichever of the two another client has replaced, and by whichever it is changed."""
    mount = make_mount(backing=backing)
    change, outcome = CHANGES[what]
    for number, by in enumerate("ab"):
        names = {name: f"{name}{number}" for name in "ab"}
        linked(mount, *names.values())
        replace(backing / names[replaced], SECOND)
        held = {name: SECOND if name == replaced else FIRST for name in "ab"}
        before = {name: os.stat(backing / names[name]) for name in "ab"}
        change(mount.path / names[by])
        held[by] = outcome(held[by])
        other = "b" if by == "a" else "a"
        assert {name: (backing / names[name]).read_bytes() for name in "ab"} == held
        after = os.stat(backing / names[other])
        assert (after.st_mode, after.st_uid, after.st_mtime) == (
            before[other].st_mode,
            before[other].st_uid,
            before[other].st_mtime,
        )
        assert {name: (mount.path / names[name]).read_bytes() for name in "ab"} == held
        if what == "chmod":
            assert os.stat(backing / names[by]).st_mode & 0o777 == 0o600
        if what == "link":
            assert (backing / "third").read_bytes() == held[by]
            assert (mount.path / "third").read_bytes() == held[by]
            os.unlink(mount.path / "third")


@pytest.mark.parametrize("replaced", ["a", "b", "c"])
def test_each_name_of_a_link_reads_as_its_own_file(
    make_mount: MakeMount, backing: Path, replaced: str
) -> None:
    mount = make_mount(backing=backing)
    linked(mount, "a", "b", "c")
    replace(backing / replaced, SECOND)
    for _ in range(3):
        for name in "abc":
            assert (mount.path / name).read_bytes() == (SECOND if name == replaced else FIRST)
    numbers = {name: os.stat(mount.path / name).st_ino for name in "abc"}
    assert len(set(numbers.values())) == 2
    assert sum(numbers[name] == numbers[replaced] for name in "abc") == 1


def test_a_link_that_is_opened_again_and_again_is_asked_for_by_each_name(
    make_mount: MakeMount, backing: Path
) -> None:
    """What renews the lease of a file says nothing of its other names."""
    mount = make_mount(SHORT, backing=backing)
    a, b = linked(mount, "a", "b")
    with opened(a, os.O_RDWR) as fd:
        replace(backing / "b", SECOND)

        def shows_the_other() -> bool:
            os.write(fd, b"x")
            os.fsync(fd)
            return os.stat(b).st_size == len(SECOND)

        eventually(shows_the_other, LEASE_LIMIT, "stat of the name that was replaced")


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_a_link_outlives_the_directory_of_its_first_name(
    make_mount: MakeMount, backing: Path, how: str
) -> None:
    for name in ("one", "other"):
        (backing / name / "below").mkdir(parents=True)
    mount = make_mount(SHORT, backing=backing)
    linked(mount, "one/below/f", "other/f")
    if how == "renamed":
        (backing / "one").rename(backing / "away")
    else:
        (backing / "one/below/f").unlink()
        (backing / "one/below").rmdir()
        (backing / "one").rmdir()
    eventually(lambda: "one" not in os.listdir(mount.path), LEASE_LIMIT)
    left = mount.path / "other/f"
    assert left.read_bytes() == FIRST
    left.chmod(0o600)
    os.truncate(left, 4)
    append(left)
    assert (backing / "other/f").read_bytes() == FIRST[:4] + b"WHAT"
    assert os.stat(backing / "other/f").st_mode & 0o777 == 0o600


BY_NAME: dict[str, Callable[[Path], object]] = {
    "chmod": lambda path: path.chmod(0o600),
    "chown": lambda path: os.chown(path, 1, 1),
    "utime": lambda path: os.utime(path, (LATER + 5, LATER + 5)),
    "utime to the old time": lambda path: os.utime(path, (OLD, OLD)),
    "truncate": lambda path: os.truncate(path, 2 * CHUNK),
    "link": lambda path: os.link(path, path.with_name("g")),
    "O_TRUNC": lambda path: path.write_bytes(b"B" * (2 * CHUNK + 4096)),
}


@pytest.mark.parametrize("size", [2 * CHUNK, 2 * CHUNK + 4096])
@pytest.mark.parametrize("what", BY_NAME)
def test_a_change_by_name_of_a_file_replaced_while_open_keeps_the_two_apart(
    make_mount: MakeMount, backing: Path, what: str, size: int
) -> None:
    put(backing / "f", b"A" * (2 * CHUNK), OLD)
    mount = make_mount(backing=backing)
    path = mount.path / "f"
    with opened(path, os.O_RDONLY) as old:
        assert os.pread(old, 10, 0) == b"A" * 10
        replace(backing / "f", b"B" * size)
        BY_NAME[what](path)
        with opened(path, os.O_RDONLY) as new:
            assert set(os.pread(old, 4096, CHUNK)) == set(b"A")
            assert set(os.pread(new, 4096, CHUNK)) == set(b"B")
            assert set(os.pread(new, 4096, CHUNK + CHUNK // 2)) == set(b"B")
            assert set(os.pread(old, 4096, CHUNK + CHUNK // 2)) == set(b"A")
            assert os.pread(old, 8192, 2 * CHUNK - 4096) == b"A" * 4096
            assert os.fstat(old).st_ino != os.fstat(new).st_ino
            assert os.fstat(old).st_size == 2 * CHUNK
            assert os.fstat(new).st_size == (backing / "f").stat().st_size
    if what == "chmod":
        assert os.stat(backing / "f").st_mode & 0o777 == 0o600
    if what == "link":
        assert os.stat(mount.path / "g").st_ino == os.stat(path).st_ino
        assert (mount.path / "g").read_bytes() == b"B" * size


BY_DESCRIPTOR: dict[str, Callable[[int], object]] = {
    "fchmod": lambda fd: os.fchmod(fd, 0o600),
    "fchown": lambda fd: os.fchown(fd, 1, 1),
    "futimens": lambda fd: os.utime(fd, (LATER + 5, LATER + 5)),
    "ftruncate": lambda fd: os.ftruncate(fd, 3),
}


@pytest.mark.parametrize("what", BY_DESCRIPTOR)
def test_a_change_by_descriptor_never_is_one_of_what_replaced_the_file(
    make_mount: MakeMount, backing: Path, what: str
) -> None:
    """The kernel says of ftruncate alone that it came by a descriptor."""
    put(backing / "f", FIRST, OLD)
    os.link(backing / "f", backing / "kept")
    mount = make_mount(backing=backing)
    with opened(mount.path / "f", os.O_RDWR) as old:
        assert read_all(old) == FIRST
        replace(backing / "f", SECOND)
        before = os.stat(backing / "f"), os.stat(backing / "kept")
        try:
            BY_DESCRIPTOR[what](old)
        except OSError as problem:
            assert problem.errno == errno.ESTALE and what != "ftruncate"
            assert _changeable(backing / "kept") == _changeable_of(before[1])
            BY_DESCRIPTOR[what](old)
        assert _changeable(backing / "f") == _changeable_of(before[0])
        assert _changeable(backing / "kept") != _changeable_of(before[1])


def _changeable(path: Path) -> tuple[float, ...]:
    return _changeable_of(os.stat(path))


def _changeable_of(found: os.stat_result) -> tuple[float, ...]:
    return found.st_mode, found.st_uid, found.st_size, found.st_mtime


def test_a_file_that_is_open_and_replaced_does_not_vanish(make_mount: MakeMount, backing: Path) -> None:
    put(backing / "config", b"the old one", OLD)
    put(backing / "beside", b"", OLD)
    mount = make_mount(backing=backing)
    assert sorted(os.listdir(mount.path)) == ["beside", "config"]
    with opened(mount.path / "config", os.O_RDONLY) as old:
        assert read_all(old) == b"the old one"
        replace(backing / "config", b"the new one, longer")
        assert (mount.path / "config").read_bytes() == b"the new one, longer"
        assert sorted(os.listdir(mount.path)) == ["beside", "config"]
        assert os.stat(mount.path / "config").st_ino != os.fstat(old).st_ino
        assert read_all(old) == b"the old one"


def test_a_file_that_is_open_and_replaced_shows_as_the_new_one_at_once(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """What the open was told is the name's: nobody is asked for it."""
    put(backing / "f", b"the old one", OLD)
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    with opened(mount.path / "f", os.O_RDWR):
        replace(backing / "f", b"the new one, longer")
        counting_proxy.reset()
        with opened(mount.path / "f", os.O_RDONLY):
            pass
        assert "LSTAT" in counting_proxy.read().requests
        counting_proxy.reset()
        assert os.stat(mount.path / "f").st_size == len(b"the new one, longer")
        assert os.listdir(mount.path) == ["f"]
        assert "LSTAT" not in counting_proxy.read().requests


ENDS: dict[str, Callable[[Path], object]] = {
    "chmod": lambda path: path.chmod(0),
    "chown": lambda path: os.chown(path, 1, 1),
    "utime": lambda path: os.utime(path, (LATER, LATER)),
    "rename over": lambda path: os.rename(path.parent / "000000", path),
    "chmod of the directory": lambda path: path.parent.chmod(0),
}


@pytest.mark.parametrize("what", ENDS)
def test_what_was_fetched_ahead_answers_no_open_after_a_change_of_ours(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path, what: str
) -> None:
    """The server is to decide whether it may be read, and what is read."""
    now = time.time() - 86400
    (backing / "d").mkdir()
    for number in range(30):
        put(backing / "d" / f"{number:06}", b"%06d" % number * 100, int(now))
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    here = mount.path / "d"
    names = sorted(os.listdir(here))

    def asks(name: str) -> bool:
        counting_proxy.reset()
        with opened(here / name, os.O_RDONLY):
            return "OPEN" in counting_proxy.read().requests

    for name in names[:12]:
        (here / name).read_bytes()
    assert not asks(names[13]), "it was to be fetched ahead"
    ENDS[what](here / names[14])
    assert asks(names[14])


def test_a_log_that_is_written_here_is_seen_to_be_rotated(make_mount: MakeMount, backing: Path) -> None:
    """What its handle tells renews no lease of the name, and a write under way hides nothing."""
    put(backing / "log", b"line\n", OLD)
    mount = make_mount(SHORT, backing=backing)
    with opened(mount.path / "log", os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"line\n")
        (backing / "log").rename(backing / "log.1")
        put(backing / "log", b"new", LATER)

        def rotated() -> bool:
            os.write(fd, b"line\n")
            return os.stat(mount.path / "log").st_size == 3

        eventually(rotated, LEASE_LIMIT, "stat of the log")
        assert (mount.path / "log").read_bytes() == b"new"
        os.write(fd, b"last\n")
    assert (backing / "log").read_bytes() == b"new"
    assert (backing / "log.1").read_bytes().endswith(b"line\nlast\n")


def test_an_open_beside_a_write_gets_what_has_the_name(make_mount: MakeMount, backing: Path) -> None:
    put(backing / "f", b"A" * CHUNK, OLD)
    mount = make_mount(backing=backing)
    with opened(mount.path / "f", os.O_RDWR) as old:
        os.pwrite(old, b"ours", 0)
        replace(backing / "f", b"B" * (CHUNK + 5))
        os.pwrite(old, b"ours", 4)
        with opened(mount.path / "f", os.O_RDONLY) as new:
            assert read_all(new) == b"B" * (CHUNK + 5)
            assert os.pread(old, CHUNK + 10, 0) == b"oursours" + b"A" * (CHUNK - 8)
            assert os.fstat(old).st_ino != os.fstat(new).st_ino


def test_a_link_put_in_place_of_a_file_is_not_followed_on_the_server(
    make_mount: MakeMount, backing: Path, tmp_path: Path
) -> None:
    """Links are resolved here, where they are kept inside."""
    secret = tmp_path / "secret"
    put(secret, b"outside of the mount", LATER)
    for name in ("small", "never read", "large"):
        put(backing / name, b"A" * (5 if name != "large" else CHUNK), OLD)
    mount = make_mount(backing=backing)
    for name in ("small", "large"):
        (mount.path / name).read_bytes()
    os.listdir(mount.path)
    for name in ("small", "never read", "large"):
        (backing / name).unlink()
        (backing / name).symlink_to(secret)
        with pytest.raises(OSError):
            (mount.path / name).read_bytes()
        assert (mount.path / name).is_symlink()


def test_nothing_is_written_by_a_link_put_in_place_of_a_file(
    make_mount: MakeMount, backing: Path, tmp_path: Path
) -> None:
    """The server follows it as it empties what is opened, which cannot be helped."""
    secret = tmp_path / "secret"
    put(secret, b"outside of the mount", LATER)
    put(backing / "f", b"A" * 5, OLD)
    mount = make_mount(backing=backing)
    (mount.path / "f").stat()
    (backing / "f").unlink()
    (backing / "f").symlink_to(secret)
    with pytest.raises(OSError):
        (mount.path / "f").write_bytes(b"ours")
    assert secret.read_bytes() == b""
    assert (mount.path / "f").is_symlink()


BESIDE: dict[str, Callable[[Path], object]] = {
    "unlink": lambda path: path.unlink(),
    "rename": lambda path: path.rename(path.with_name("third")),
    "link": lambda path: os.link(path, path.with_name("third")),
}


@pytest.mark.parametrize("what", BESIDE)
def test_a_change_of_a_link_and_one_of_its_names_do_not_wait_for_each_other(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path, what: str
) -> None:
    """One has the file's lock in the kernel, the second the directory's and wants the file's; the kernel
    is to be told of a name in that directory meanwhile."""
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    first, second = linked(mount, "a", "b")
    ended: list[str] = []
    waiting: list[int] = []

    def run(work: Callable[[], object]) -> None:
        waiting.append(threading.get_native_id())
        try:
            work()
        except OSError as problem:
            assert problem.errno == errno.ESTALE
        ended.append(what)

    def blocked() -> bool:
        """By a lock of the kernel's, which no signal ends."""
        return len(waiting) == 2 and _state(waiting[1]) == "D"

    with opened(second, os.O_RDWR) as descriptor:
        os.stat(second)
        replace(backing / first.name, SECOND)
        counting_proxy.reset()
        counting_proxy.pause()
        for work in (lambda: os.fchmod(descriptor, 0o600), lambda: BESIDE[what](second)):
            threading.Thread(target=run, args=(work,), daemon=True).start()
            eventually(lambda: waiting and _state(waiting[0]) == "S" and not ended)
        try:
            eventually(blocked)
            counting_proxy.resume()
            eventually(lambda: len(ended) == 2)
        except AssertionError:
            mount.kill()
            raise
    assert first.read_bytes() == SECOND
    assert (backing / first.name).stat().st_mode & 0o777 == 0o644


def _state(thread: int) -> str:
    """Of a thread of this process (proc_pid_stat(5))."""
    return Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[0]
