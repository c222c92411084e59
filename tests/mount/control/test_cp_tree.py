"""``sftpfs cp -r`` from elsewhere into a mount: the mount makes many at once, and promises no less."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from sftpfs.control.tree_request import TOGETHER
from tests.conftest import MakeMount
from tests.harness.command import ended, say, started
from tests.harness.counting import CountingProxy
from tests.harness.kernel import opened
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually
from tests.mount.control.test_cp import LONG, MIB, OLD, content, copied, described, small_disk

__all__ = ["small_disk"]

ABSENT = "negative_timeout=600"
"""What was missing is believed to be for longer than a test takes."""


def tree(top: Path, directories: int, files: int) -> Path:
    """``directories`` in ``top`` with ``files`` each, whose content and times tell them apart."""
    for number in range(directories):
        place = top / f"d{number}"
        place.mkdir(parents=True)
        for each in range(files):
            path = place / f"f{each}"
            path.write_bytes(b"%d.%d " % (number, each) * (each + 1))
            os.chmod(path, 0o600 + 0o11 * (each % 8))
            os.utime(path, (OLD, OLD + number * 100 + each))
        os.utime(place, (OLD, OLD + number))
    return top


def whole_or_missing(copy: Path, source: Path) -> int:
    """Asserts that every file of ``copy`` is as in ``source``. How many there are."""
    files = [path for path in copy.rglob("*") if path.is_file()] if copy.exists() else []
    for path in files:
        assert path.read_bytes() == (source / path.relative_to(copy)).read_bytes(), path
    return len(files)


@pytest.fixture
def counted(make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path) -> Mount:
    """A mount by way of ``counting_proxy``, without delay."""
    counting_proxy.set_latency(0)
    return make_mount(LONG, ABSENT, backing=backing, port=counting_proxy.port)


# -- what it costs ---------------------------------------------------------------------------


def test_requests_of_each_file_and_all_side_by_side(
    counted: Mount, counting_proxy: CountingProxy, tmp_path: Path
) -> None:
    """Directories wait for those above them only, and files for nothing but their own requests."""
    source = tree(tmp_path / "tree", 20, 2)
    (source / "d0/link").symlink_to("f0")
    counting_proxy.reset()
    counting_proxy.hold_replies("OPEN")
    process = started("cp", "-r", source, counted.path / "copy")
    eventually(lambda: counting_proxy.read().requests.get("OPEN", 0) == 40, what="all files begun")
    counting_proxy.deliver_replies()
    assert ended(process) == (0, "", "")
    requests = counting_proxy.read().requests
    assert requests["MKDIR"] == 21 and requests["SYMLINK"] == 1
    assert (requests["OPEN"], requests["WRITE"], requests["FSETSTAT"]) == (40, 40, 40)
    assert requests["CLOSE"] == 40 + requests.get("OPENDIR", 0)
    assert "FSTAT" not in requests
    assert requests["LSTAT"] <= 2 * 40 + 2 * 22 + 12  # with OPEN and with CLOSE, and some looks
    assert described(counted.backing / "copy") == described(source)


def test_directories_of_one_level_wait_once(
    counted: Mount, counting_proxy: CountingProxy, tmp_path: Path
) -> None:
    source = tree(tmp_path / "tree", 20, 0)
    (counted.path / "copy").mkdir()
    counting_proxy.reset()
    counting_proxy.hold_replies("MKDIR")
    process = started("cp", "-r", f"{source}/.", counted.path / "copy")
    eventually(lambda: counting_proxy.read().requests.get("MKDIR", 0) == 20, what="all directories begun")
    counting_proxy.deliver_replies()
    assert ended(process) == (0, "", "")
    assert described(counted.backing / "copy").keys() == described(source).keys()


# -- what it makes ---------------------------------------------------------------------------


@pytest.mark.parametrize("options", ["-r", "-a"])
def test_everything_is_as_it_was_and_seen_at_once(counted: Mount, tmp_path: Path, options: str) -> None:
    """By programs that knew the names to be missing, too."""
    source = tree(tmp_path / "tree", 2, 3)
    strange = os.fsencode(source) + b"/d0/new\nline \xff\xfe"
    os.mkdir(strange)
    Path(os.fsdecode(strange + b"/\xe9\n")).write_bytes(b"strange")
    (source / "d1/empty").touch()
    (source / "d1/none").mkdir(mode=0o2750)
    (source / "d1/secret").write_bytes(b"secret")
    (source / "d1/large").write_bytes(content(3 * MIB))
    (source / "d1/set").write_bytes(b"set-ID")
    for name, mode in (("secret", 0o400), ("large", 0o640), ("set", 0o4755)):
        os.chmod(source / "d1" / name, mode)
    os.symlink(b"to \xff", source / "dangling")
    os.utime(source / "dangling", (OLD, OLD), follow_symlinks=False)
    os.utime(source, (OLD, OLD))
    copy = counted.path / "copy"
    for path in (copy, copy / "d0"):
        assert not path.exists()
    copied(options, source, copy)
    assert described(copy) == described(source)
    assert described(counted.backing / "copy") == described(source)
    if options == "-a":
        shown = os.lstat(copy / "dangling")
        assert int(shown.st_mtime) == OLD
    else:
        (source / "d0/later").write_bytes(b"later")
        for path in (copy / "d0/later", copy / "d9"):
            assert not path.exists()
        assert "later" not in os.listdir(copy / "d0")
        (source / "d9").mkdir()
        copied("-r", f"{source}/.", copy)
        assert (copy / "d0/later").read_bytes() == b"later"
        assert "later" in os.listdir(copy / "d0") and (copy / "d9").is_dir()


def test_a_program_works_in_what_is_being_made(
    counted: Mount, counting_proxy: CountingProxy, tmp_path: Path
) -> None:
    """A name that is being made is made once, and whoever opened the file meanwhile sees all of it then."""
    source = tree(tmp_path / "tree", 1, 1)
    data = (source / "d0/f0").read_bytes()
    counting_proxy.hold_replies("WRITE")
    process = started("cp", "-r", source, counted.path / "copy")
    eventually(lambda: counting_proxy.read().requests.get("WRITE") == 1, what="a file under way")
    made = counted.path / "copy/d0/f0"
    outcomes: list[object] = []

    def meddle() -> None:
        try:
            os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            outcomes.append("made once more")
        except OSError as problem:
            outcomes.append(type(problem))
        with opened(made, os.O_RDONLY) as fd:
            outcomes.append(fd)
            meddled.wait(30)
            outcomes.append(os.pread(fd, 100, 0))

    meddled = threading.Event()
    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        counting_proxy.deliver_replies()
        assert ended(process) == (0, "", "")
        eventually(lambda: len(outcomes) == 2, what="the file opened")
    finally:
        meddled.set()
        thread.join()
    assert outcomes[0] is FileExistsError
    assert outcomes[2] == data == made.read_bytes()
    assert stat.S_IMODE(os.stat(made).st_mode) == stat.S_IMODE(os.stat(source / "d0/f0").st_mode)


def test_what_is_there_already_stays_the_file_it_is(counted: Mount, tmp_path: Path) -> None:
    """Also for whoever has it open, and what another client has just made."""
    source = tree(tmp_path / "tree", 1, 3)
    copied("-r", source, counted.path / "copy")
    old, new = counted.path / "copy/d0/f0", b"another content"
    (source / "d0/f0").write_bytes(new)
    (source / "d0/f9").write_bytes(new)
    number = os.stat(old).st_ino
    assert not (counted.path / "copy/d0/f9").exists()
    (counted.backing / "copy/d0/f9").write_bytes(b"somebody else's, and longer than the new one")
    with opened(old, os.O_RDONLY) as fd:
        copied("-r", f"{source}/.", counted.path / "copy")
        assert os.pread(fd, 100, 0) == new
        assert os.fstat(fd).st_ino == os.stat(old).st_ino == number
    assert described(counted.backing / "copy") == described(source)
    assert described(counted.path / "copy") == described(source)


# -- what it cannot make ---------------------------------------------------------------------


def test_each_failure_is_its_own(counted: Mount, counting_proxy: CountingProxy, tmp_path: Path) -> None:
    source = tree(tmp_path / "tree", 4, 2)
    target = counted.path / "copy"
    for name in ("d0/f0", "d1/f1"):
        (target / name).mkdir(parents=True)
    (target / "d3").write_bytes(b"no directory")
    counting_proxy.spoil("OPEN", "permission denied", about="/d2/f")
    found = say("cp", "-r", f"{source}/.", target)
    counting_proxy.heal()
    assert (found.status, found.stdout) == (1, "")
    assert sorted(found.stderr.splitlines()) == sorted(
        f"sftpfs: not copied: {one}"
        for one in (
            f"cannot overwrite directory '{target}/./d0/f0' with non-directory",
            f"cannot overwrite directory '{target}/./d1/f1' with non-directory",
            f"cannot create regular file '{target}/./d2/f0': Permission denied",
            f"cannot create regular file '{target}/./d2/f1': Permission denied",
            f"cannot overwrite non-directory '{target}/./d3' with directory '{source}/./d3'",
        )
    )
    for name in ("d0/f1", "d1/f0"):
        assert (counted.backing / "copy" / name).read_bytes() == (source / name).read_bytes()


def test_what_the_server_refuses_as_it_is_closed(
    counted: Mount, counting_proxy: CountingProxy, tmp_path: Path
) -> None:
    """No file counts as copied before its CLOSE was answered."""
    source = tree(tmp_path / "tree", 1, 3)
    counted.expect("the server refused what was written as the file was closed")
    counting_proxy.spoil("CLOSE", "failure")
    found = say("cp", "-r", source, counted.path / "copy")
    counting_proxy.heal()
    assert found.status == 1
    lines = [f"sftpfs: not copied: error writing '{counted.path}/copy/d0/f{one}'" for one in range(3)]
    assert [line.rpartition(": ")[0] for line in sorted(found.stderr.splitlines())] == lines
    assert not os.listdir(counted.backing / "copy/d0")


def test_a_full_disk_leaves_whole_files(
    small_disk: Path, counting_proxy: CountingProxy, make_mount: MakeMount, tmp_path: Path
) -> None:
    counting_proxy.set_latency(0)
    source = tmp_path / "tree"
    source.mkdir()
    for number in range(8):
        (source / f"f{number}").write_bytes(content(MIB // 2 + number))
    mount = make_mount(LONG, backing=small_disk, port=counting_proxy.port)
    found = say("cp", "-r", source, mount.path / "copy")
    assert found.status == 1
    lines = found.stderr.splitlines()
    reasons = {line.rpartition(": ")[2] for line in lines}
    assert "No space left on device" in reasons, reasons
    # What one gave back may be there again when it is looked why the next was refused.
    assert reasons <= {"No space left on device", "Input/output error"}, reasons
    made = whole_or_missing(small_disk / "copy", source)
    assert made == 8 - len(lines) and made >= 1
    assert sorted(os.listdir(mount.path / "copy")) == sorted(os.listdir(small_disk / "copy"))


def test_a_read_only_mount(make_mount: MakeMount, backing: Path, tmp_path: Path) -> None:
    source = tree(tmp_path / "tree", 1, 2)
    (backing / "copy").mkdir()
    mount = make_mount("ro", backing=backing)
    found = say("cp", "-r", f"{source}/.", mount.path / "copy")
    refused = f"sftpfs: not copied: cannot create directory '{mount.path}/copy/./d0': Read-only file system\n"
    assert found.status == 1 and refused in found.stderr
    assert not os.listdir(backing / "copy")


# -- what comes between ----------------------------------------------------------------------


def test_a_lost_connection_is_survived(counted: Mount, counting_proxy: CountingProxy, tmp_path: Path) -> None:
    """Whichever request was the last, and whether the server carried it out or not."""
    source = tree(tmp_path / "tree", 3, 8)
    for number, name in enumerate(("MKDIR", "OPEN", "WRITE", "FSETSTAT", "CLOSE")):
        for carried_out in (False, True):
            counting_proxy.cut_at(name, carried_out=carried_out)
            copy = f"copy{number}{carried_out}"
            copied("-r", source, counted.path / copy)
            assert counting_proxy.cuts_left() == 0
            assert described(counted.backing / copy) == described(source), (name, carried_out)
            assert described(counted.path / copy) == described(source), (name, carried_out)


def test_a_server_that_is_gone_ends_it(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path, tmp_path: Path
) -> None:
    """Within one deadline, not one for each file; what is there is whole, or is named."""
    counting_proxy.set_latency(0)
    source = tree(tmp_path / "tree", 8, 30)
    mount = make_mount(LONG, "timeout=2", backing=backing, port=counting_proxy.port)
    mount.expect("")
    counting_proxy.hold_replies("WRITE")
    process = started("cp", "-r", source, mount.path / "copy")
    eventually(lambda: "WRITE" in counting_proxy.read().requests, what="files under way")
    counting_proxy.refuse()
    counting_proxy.cut()
    found = ended(process)
    assert found.status == 1
    assert "Connection timed out" in found.stderr
    assert found.stderr.count("the server is away: what was not begun is not copied") == 1
    named = found.stderr
    for path in (backing / "copy").rglob("f*"):
        whole = path.read_bytes() == (source / path.relative_to(backing / "copy")).read_bytes()
        assert whole or str(mount.path / path.relative_to(backing)) in named
    counting_proxy.refuse(False)
    mount.ends_with = {0, 74}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_copy_leaves_whole_files(
    counted: Mount, counting_proxy: CountingProxy, tmp_path: Path, number: signal.Signals
) -> None:
    """However it is interrupted: what the mount has begun and not ended is taken away."""
    source = tree(tmp_path / "tree", 4, 40)
    for name in ("OPEN", "WRITE", "FSETSTAT"):
        copy = counted.backing / name
        counting_proxy.reset()
        counting_proxy.hold_replies(name)
        process = started("cp", "-r", source, counted.path / name)
        eventually(lambda: under_way(counting_proxy, name), what="all under way that may be")  # noqa: B023
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait(30)
        counting_proxy.deliver_replies()
        assert ended(process).status == (130 if number == signal.SIGINT else -signal.SIGKILL)
        if number == signal.SIGKILL:  # nobody waits for the mount
            eventually(lambda: not halves(copy, source), what="only whole files")  # noqa: B023
            assert counting_proxy.read().requests["OPEN"] == TOGETHER, "none was begun since"
        assert not halves(copy, source)
        files = [path for path in copy.rglob("f*") if path.is_file()]
        assert len(files) < 160
        counting_proxy.reset()
        shutil.rmtree(counted.path / name)
        assert not copy.exists()


def under_way(proxy: CountingProxy, name: str) -> bool:
    """Whether ``TOGETHER`` files were opened, and some came to request ``name``."""
    requests = proxy.read().requests
    return name in requests and requests.get("OPEN") == TOGETHER


def halves(copy: Path, source: Path) -> list[Path]:
    """Files of ``copy`` that are not as in ``source``; some may go meanwhile."""
    found = []
    for path in copy.rglob("f*") if copy.exists() else []:
        with suppress(FileNotFoundError):
            if path.read_bytes() != (source / path.relative_to(copy)).read_bytes():
                found.append(path)
    return found
