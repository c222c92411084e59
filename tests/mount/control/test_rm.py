"""``sftpfs rm``: as rm(1) does it, pipelined, and with nothing removed that should stay."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sftpfs.control.client import RequestFailedError, connect_to
from sftpfs.vfs.tree_remove.removal import ROUND
from tests.conftest import MakeMount
from tests.harness.command import Output, ended, say, started
from tests.harness.counting import CountingProxy
from tests.harness.machine import NOBODY
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually

LONG = "dcache_timeout=600"
"""Seconds no test takes: what is gone after a removal is gone because of it."""


@pytest.fixture(scope="module")
def proxy() -> Iterator[CountingProxy]:
    with CountingProxy() as proxy:
        proxy.set_latency(0)
        yield proxy


@pytest.fixture(scope="module")
def mount(proxy: CountingProxy, make_module_mount: MakeMount) -> Mount:
    """One for all: each test has a tree of its own name, which nobody looked for before."""
    return make_module_mount(LONG, "negative_timeout=0", port=proxy.port)


def tree(top: Path, directories: int = 3, files: int = 4) -> Path:
    """Some files in each of some directories, one below ``top`` each, and one file beside these."""
    for number in range(directories):
        (top / f"d{number}").mkdir(parents=True)
        for name in range(files):
            (top / f"d{number}" / f"f{name}").write_bytes(b"x")
    (top / "file").write_bytes(b"x")
    return top


def removed(*words: str | Path) -> None:
    """A removal that goes well and says nothing."""
    assert say("rm", *words) == (0, "", "")


def lines(output: Output) -> set[str]:
    return {line.removeprefix("sftpfs: ") for line in output.stderr.splitlines()}


# -- as rm(1) --------------------------------------------------------------------------------


def prepare(top: Path) -> None:
    tree(top / "d", 2, 2)
    tree(top / "e", 1, 1)
    (top / "empty").mkdir()
    (top / "f").write_bytes(b"")
    (top / "-x").write_bytes(b"")
    (top / "protected").write_bytes(b"")
    (top / "protected").chmod(0o400)
    (top / "link").symlink_to("d")
    (top / "dangling").symlink_to("nowhere")


CASES: list[list[str]] = [
    ["d", "f", "missing", "empty/"],
    ["-d", "d", "empty", "f", ".", "d/.."],
    ["-r", ".", "d/..", "d/.", "f/", ""],
    ["-rv", "d", "link", "dangling", "f"],
    ["-f", "missing", "f/x", "protected", "d"],
    ["-rf", "--", "./-x", "d/", "e/d0/f0", "e"],
    ["-r", "e", "e/file"],
]


def below(top: Path, word: str) -> str:
    """The word as it is given for what is prepared in ``top``."""
    return word if word[:1] in ("-", "") else f"{top}/{word}"


def reference(*words: str, prefix: Sequence[str] = ()) -> Output:
    """rm(1) itself."""
    environment = {**os.environ, "LC_ALL": "C"}
    command = [*prefix, "rm", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return Output(done.returncode, done.stdout, done.stderr)


def described(output: Output, top: Path) -> tuple[int, list[str], list[str]]:
    """What was said of what is in ``top``, in any order."""
    printed = output.stdout.replace(str(top), "TOP").splitlines()
    said = [line.partition(": ")[2] for line in output.stderr.replace(str(top), "TOP").splitlines()]
    return output.status, sorted(printed), sorted(said)


def names(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_the_same_words_and_status(case: list[str], mount: Mount, tmp_path: Path) -> None:
    name = f"case{CASES.index(case)}"
    local, there, here = tmp_path / name, mount.backing / name, mount.path / name
    prepare(local)
    prepare(there)
    expected = described(reference(*(below(local, word) for word in case)), local)
    assert described(say("rm", *(below(here, word) for word in case)), here) == expected
    assert names(here) == names(there) == names(local)


def test_a_link_is_not_followed(mount: Mount) -> None:
    """Not even where rm(1) does it, for a link with a slash behind."""
    top = tree(mount.backing / "linked") / "links"
    tree(mount.backing / "target")
    top.mkdir()
    (top / "link").symlink_to(mount.backing / "target")
    (top / "inside").symlink_to("../d0")
    link = mount.path / "linked" / "links" / "inside"
    found = say("rm", "-rf", f"{link}/")
    assert (found.status, found.stderr) == (0, ""), "as any path that is not there"
    found = say("rm", "-r", f"{link}/")
    assert (found.status, lines(found)) == (1, {f"cannot remove '{link}/': Not a directory"})
    removed("-r", mount.path / "linked" / "links")
    assert names(mount.backing / "target") == names(mount.backing / "linked")
    assert len(names(mount.backing / "target")) == 16


def test_what_the_server_refuses(make_mount: MakeMount, backing: Path, tmp_path: Path) -> None:
    """To a login that is not root: each path with its own reason, and the rest goes."""
    for top in (backing / "tree", tmp_path / "local"):
        tree(top)
        (top / "d0").chmod(0o555)
        (top / "unreadable" / "content").mkdir(parents=True)
        (top / "unreadable").chmod(0o300)
        (top / "empty and unreadable").mkdir(mode=0o300)
        for path in (top, *top.rglob("*")):
            os.chown(path, 65534, 65534)
        (top / "sticky").mkdir()
        (top / "sticky").chmod(0o1777)
        (top / "sticky" / "of root").write_bytes(b"")
    for directory in (backing, tmp_path, *tmp_path.parents):
        directory.chmod(directory.stat().st_mode | 0o011)
    backing.chmod(0o777)
    with CountingProxy(0.0, wrapped=NOBODY) as proxy:
        mount = make_mount(backing=backing, port=proxy.port)
        here, local = mount.path / "tree", tmp_path / "local"
        expected = described(reference("-rfv", str(local), prefix=NOBODY), local)
        assert described(say("rm", "-rfv", here), here) == expected
        assert len(expected[2]) >= 6
        assert names(backing / "tree") == names(local)
        mount.close()


def test_what_is_in_no_mount_or_mounted_on_stays(mount: Mount, tmp_path: Path) -> None:
    tree(tmp_path / "elsewhere")
    inside = tree(mount.backing / "around") / "d1"
    here = mount.path / "around" / "d1"
    subprocess.run(["mount", "-t", "tmpfs", "none", here / "."], check=True)
    try:
        (here / "kept").write_bytes(b"")
        found = say("rm", "-rf", "/", mount.path, tmp_path / "elsewhere", here, mount.path / "around")
        assert found.status == 1
        busy = os.strerror(errno.EBUSY)
        assert lines(found) == {
            "it is dangerous to operate recursively on '/'",
            f"cannot remove '{mount.path}': {busy}: something is mounted on it; unmount that first",
            f"cannot remove '{tmp_path}/elsewhere': it is in no sftpfs mount; use rm",
            f"cannot remove '{here}': {busy}: something is mounted on it; unmount that first",
            f"cannot remove '{here}': {busy}",
        }
        assert os.listdir(here) == ["kept"]
        assert os.path.ismount(here)
        assert os.listdir(mount.path / "around") == ["d1"]
    finally:
        subprocess.run(["umount", here], check=True)
    assert sorted(os.listdir(inside)) == ["f0", "f1", "f2", "f3"]
    assert (tmp_path / "elsewhere" / "file").exists()


def test_names_of_any_bytes(mount: Mount) -> None:
    top = mount.backing / "bytes"
    for name in (
        b"new\nline",
        b"\xff\xfe",
        b"'quoted' \"twice\"",
        b" ",
        "schön".encode(),
        b"-rf",
        b"x" * 255,
    ):
        directory = os.fsencode(top) + b"/in " + name[:200]
        os.makedirs(directory)
        Path(os.fsdecode(directory + b"/" + name)).write_bytes(b"")
    shutil.copytree(top, mount.backing / "kept bytes")
    found = say("rm", "-rv", mount.path / "bytes")
    assert (found.status, found.stderr) == (0, "")
    assert len(found.stdout.splitlines()) == 15  # each on one line
    assert not top.exists()
    removed("-r", *(mount.path / "kept bytes").iterdir())
    assert os.listdir(mount.backing / "kept bytes") == []


# -- requests and waits ---------------------------------------------------------------------


def test_a_tree_takes_a_request_a_name_and_few_waits(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """Which nobody looked into before."""
    tree(backing / "tree", 20, 10)
    mount = make_mount(LONG, backing=backing, port=counting_proxy.port)
    os.stat(mount.path / "tree")
    counting_proxy.reset()
    removed("-r", mount.path / "tree")
    count = counting_proxy.read()
    assert count.requests["REMOVE"] == 201
    assert count.requests["RMDIR"] == 21
    assert {count.requests["OPENDIR"], count.requests["CLOSE"]} <= {21, 22}  # the root is listed unasked
    assert count.requests["LSTAT"] <= 21 + 1, count.requests
    assert count.requests["READDIR"] <= 21 * 6, count.requests
    assert set(count.requests) <= {"REMOVE", "RMDIR", "OPENDIR", "CLOSE", "LSTAT", "READDIR"}, count.requests
    # Two listings, the files, the directories, the top; the rest is for a busy machine.
    assert count.waits <= 10, count.trace
    assert os.listdir(backing) == []


def test_a_large_directory_is_removed_in_rounds(mount: Mount, proxy: CountingProxy) -> None:
    top = mount.backing / "large"
    top.mkdir()
    for number in range(ROUND + 300):
        os.mknod(top / str(number))
    proxy.reset()
    removed("-r", mount.path / "large")
    count = proxy.read()
    assert not top.exists()
    assert count.requests["REMOVE"] == ROUND + 300
    assert count.requests["OPENDIR"] in (1, 2)  # what had come of the rest is taken, too


# -- what programs see ------------------------------------------------------------------------


def test_names_vanish_and_what_is_open_stays(mount: Mount) -> None:
    top = tree(mount.backing / "seen")
    here = mount.path / "seen"
    (top / "d0" / "open").write_bytes(b"content")
    (top / "d2" / "twin").write_bytes(b"twin")
    os.link(here / "d2" / "twin", mount.path / "outside twin")
    seen = [path for path in (here, *here.rglob("*")) if path.lstat()]
    unread = os.open(here / "d0" / "open", os.O_RDONLY)
    written = os.open(here / "d1" / "f1", os.O_RDWR)
    os.write(written, b"unsent")
    inside = os.open(here / "d2", os.O_RDONLY | os.O_DIRECTORY)
    try:
        removed("-r", here)
        assert not [path for path in seen if os.path.lexists(path)]
        assert "seen" not in os.listdir(mount.path)
        assert os.pread(unread, 100, 0) == b"content"
        assert os.pread(written, 100, 0) == b"unsent"
        assert os.pwrite(written, b"more", 6) == 4
        os.fsync(written)
        assert os.pread(written, 100, 0) == b"unsentmore"
        assert os.fstat(unread).st_nlink == os.fstat(written).st_nlink == 0
        with pytest.raises(FileNotFoundError):
            os.stat("twin", dir_fd=inside)
        assert os.stat(mount.path / "outside twin").st_nlink == 1
        assert (mount.path / "outside twin").read_bytes() == b"twin"
        here.mkdir()
        (here / "d0").write_bytes(b"anew")
        assert (top / "d0").read_bytes() == b"anew"
    finally:
        for descriptor in (unread, written, inside):
            os.close(descriptor)


def test_beside_programs_that_change_the_same_names(mount: Mount, proxy: CountingProxy) -> None:
    """Whoever is second, the mount shows afterwards what the server has, and nobody gets a wrong error."""
    top, here = mount.backing / "shared", mount.path / "shared"
    tree(top)
    wrong: list[OSError] = []
    ended_all = threading.Event()

    def change(number: int) -> None:
        directory = here / f"d{number}"
        turn = 0
        while not ended_all.is_set():
            turn += 1
            steps = (
                lambda: directory.mkdir(parents=True, exist_ok=True),
                lambda: (directory / "f0").write_bytes(b"%d" % number),
                lambda: (directory / "f0").rename(directory / "f1"),
                lambda: (directory / "f1").chmod(0o600),
                lambda: (directory / "f2").unlink(missing_ok=True),
                lambda: directory.rename(here / f"e{number}"),
                lambda: (here / f"e{number}").rename(directory),
            )
            for step in steps:
                try:
                    step()
                except OSError as problem:
                    if problem.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.ESTALE, errno.EEXIST):
                        wrong.append(problem)

    threads = [threading.Thread(target=change, args=(number % 3,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        outputs = [say("rm", "-r", here) for _ in range(4)]
    finally:
        ended_all.set()
        for thread in threads:
            thread.join()
    known = "No such file or directory|Directory not empty|Stale file handle"
    for output in outputs:
        for line in lines(output):
            assert re.fullmatch(rf"cannot remove '{here}[^']*': ({known})", line), line
    assert not wrong
    assert names(here) == names(top)
    if top.exists():
        removed("-r", here)
    assert not top.exists()


# -- other clients ------------------------------------------------------------------------------


def test_what_others_change_meanwhile(mount: Mount, proxy: CountingProxy, tmp_path: Path) -> None:
    """A directory listed, then: a new file in it stays, a name that went is named, and a link in a
    directory's place is not followed."""
    top = tree(mount.backing / "meanwhile")
    outside = tree(mount.backing / "outside")
    os.listdir(mount.path)
    (top / "to outside").symlink_to(outside)
    here = mount.path / "meanwhile"
    os.stat(here)
    proxy.reset()
    proxy.hold_replies("READDIR")
    try:
        with started("rm", "-r", here) as process:
            eventually(lambda: proxy.read().requests.get("READDIR", 0) > 0, what="a listing")
            eventually(lambda: proxy.ask("outstanding")["outstanding"] > 0, what="a reply held")
            (top / "new").write_bytes(b"")
            (top / "file").unlink()
            shutil.rmtree(top / "d1")
            (top / "d1").symlink_to(outside)
            proxy.deliver_replies()
            found = ended(process)
    finally:
        proxy.deliver_replies()
    assert found.status == 1
    assert lines(found) == {
        f"cannot remove '{here}/file': No such file or directory",
        f"cannot remove '{here}/d1': Not a directory",
    }
    assert sorted(os.listdir(top)) == ["d1", "new"]
    assert len(list(outside.rglob("*"))) == 16
    found = say("rm", "-rf", here)
    assert (found.status, found.stderr) == (0, "")
    assert len(list(outside.rglob("*"))) == 16


def test_what_others_removed_is_gone_for_programs(mount: Mount) -> None:
    """Also where the server says so to the removal: a program must not find what ``rm -f`` left behind."""
    top, here = tree(mount.backing / "removed"), mount.path / "removed"
    shown = [here / "file", here / "d0" / "f0", here / "d1", here]
    for path in shown:
        os.stat(path)
    (top / "file").unlink()
    removed("-rf", here / "file")
    assert not (here / "file").exists()
    (top / "d0" / "f0").unlink()
    assert say("rm", here / "d0" / "f0").status == 1
    assert not (here / "d0" / "f0").exists()
    shutil.rmtree(top)
    removed("-rf", here / "d1", here)
    assert not any(path.exists() for path in shown)
    here.mkdir()
    removed("-r", here)


def test_a_directory_that_others_fill_is_not_empty(mount: Mount, proxy: CountingProxy) -> None:
    top = tree(mount.backing / "filled", 1, 1)
    (top / "file").unlink()
    here = mount.path / "filled"
    os.stat(here)
    proxy.reset()
    proxy.hold_replies("REMOVE")
    try:
        with started("rm", "-rf", here) as process:
            eventually(lambda: not (top / "d0" / "f0").exists(), what="the file gone")
            (top / "d0" / "new").write_bytes(b"")
            proxy.deliver_replies()
            found = ended(process)
    finally:
        proxy.deliver_replies()
    assert found.status == 1
    assert lines(found) == {f"cannot remove '{here}/d0': Directory not empty"}
    assert names(top) == ["d0", "d0/new"]


@pytest.mark.parametrize("fault", ["names with a slash", "dots", "endless names"])
def test_names_no_file_can_have(fault: str, mount: Mount, proxy: CountingProxy) -> None:
    top = tree(mount.backing / fault, 1, 1)
    (mount.backing / "escaped").write_bytes(b"")
    (mount.backing.parent / "escaped").write_bytes(b"")
    here = mount.path / fault
    os.stat(here)
    proxy.spoil("READDIR", fault)
    try:
        found = say("rm", "-rf", here)
    finally:
        proxy.heal()
    assert found.status == 1
    assert len(lines(found)) == 1, found.stderr
    assert str(here) in found.stderr
    assert (mount.backing / "escaped").exists()
    assert (mount.backing.parent / "escaped").exists()
    assert (top / "d0" / "f0").exists()


# -- losses -------------------------------------------------------------------------------------


def test_lost_replies(mount: Mount, proxy: CountingProxy) -> None:
    """Each loss takes many with it: what was done is not named as missing, what was not is done."""
    top = tree(mount.backing / "cut", 5, 60)
    os.stat(mount.path / "cut")
    for name, carried_out in (("READDIR", True), ("REMOVE", True), ("REMOVE", False), ("RMDIR", True)):
        proxy.cut_at(name, carried_out=carried_out)
    removed("-r", mount.path / "cut")
    assert proxy.cuts_left() == 0
    assert not top.exists()
    assert not (mount.path / "cut").exists()


def test_a_server_out_of_reach(make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path) -> None:
    """The removal ends within the deadline, and says that the rest was not tried; reading, the kernel shows
    the rest."""
    counting_proxy.set_latency(0)
    tree(backing / "tree", 3, 200)
    mount = make_mount("timeout=2", backing=backing, port=counting_proxy.port)
    os.stat(mount.path / "tree")
    counting_proxy.hold_replies("RMDIR")
    with started("rm", "-r", mount.path / "tree") as process:
        eventually(lambda: counting_proxy.read().requests.get("RMDIR", 0) > 0, what="a removal on its way")
        counting_proxy.refuse()
        counting_proxy.cut()
        found = ended(process)
    counting_proxy.refuse(False)
    counting_proxy.deliver_replies()
    assert found.status == 1
    assert "stopped: " in found.stderr
    assert "what was not named is removed or was not tried" in found.stderr
    eventually(lambda: say("rm", "-rf", mount.path / "tree").status == 0, what="the server back")
    assert os.listdir(backing) == []


def test_ctrl_c(mount: Mount, proxy: CountingProxy) -> None:
    """It ends at once, though the server does not answer, and what is shown is what the server has."""
    top = tree(mount.backing / "stopped", 1, 30)
    (top / "file").unlink()
    here = mount.path / "stopped"
    assert len(names(here)) == 31
    proxy.reset()
    proxy.hold_replies("REMOVE")
    try:
        with started("rm", "-rv", here) as process:
            eventually(lambda: proxy.read().requests.get("REMOVE", 0) == 30, what="the removals")
            process.send_signal(signal.SIGINT)
            found = ended(process)
    finally:
        proxy.deliver_replies()
    assert (found.status, found.stdout) == (130, "")
    assert found.stderr == "sftpfs: interrupted\n"
    eventually(lambda: names(top) == ["d0"], what="what was on its way done")
    assert names(here) == ["d0"]
    removed("-r", here)


# -- who may -----------------------------------------------------------------------------------


def test_a_mount_that_is_read_only(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    counting_proxy.set_latency(0)
    tree(backing / "tree")
    mount = make_mount("ro", backing=backing, port=counting_proxy.port)
    found = say("rm", "-rf", mount.path / "tree")
    assert (found.status, lines(found)) == (1, {f"cannot remove '{mount.path}/tree': Read-only file system"})
    client, _ = connect_to(str(mount.path))
    with client, pytest.raises(RequestFailedError) as caught:
        client.ask("remove", targets=[[1, "tree"]], recursive=True)
    assert caught.value.errno == errno.EROFS
    assert len(list(backing.rglob("*"))) == 17


def test_a_request_that_names_no_name(mount: Mount) -> None:
    """Of a program that speaks to the socket itself: refused as a whole."""
    tree(mount.backing / "asked")
    bad: list[object] = [
        7,
        [1],
        [True, "asked"],
        ["1", "asked"],
        [1, "a/b"],
        [1, ".."],
        [1, "."],
        [1, ""],
        [1, "\0"],
    ]
    for targets in (None, 7, *([[1, "asked"], one] for one in bad)):
        client, _ = connect_to(str(mount.path))
        with client, pytest.raises(RequestFailedError, match="a request"):
            client.ask("remove", targets=targets, recursive=True)
    assert len(list((mount.backing / "asked").rglob("*"))) == 16
