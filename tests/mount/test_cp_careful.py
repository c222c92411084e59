"""``sftpfs cp`` where what is copied, or where it goes, is not what it seems or does not stand still."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftpfs.vfs.tree.leases import ABSENCE_LEASE
from tests.conftest import MakeMount
from tests.harness.command import Output, ended, say, started
from tests.harness.counting import CountingProxy
from tests.harness.mounts import Mount
from tests.harness.outage import OUTAGE
from tests.harness.waiting import eventually
from tests.sshd import Sshd

MIB = 1 << 20
OLD = 1_600_000_000
LONG = "dcache_timeout=600"
"""Seconds no test takes: what is seen was asked for."""

UNPRIVILEGED = ("setpriv", "--bounding-set=-fowner,-chown", "--inh-caps=-fowner,-chown", "--")
"""Root that may read and write everything, and change only what is its own."""


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that every user may enter."""
    made = Path(tempfile.mkdtemp(dir="/run", prefix="sftpfs-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(params=["local", "mounted"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory of a local file system, or of a mount."""
    if request.param == "mounted":
        return request.getfixturevalue("make_mount")("no_contain_symlinks").path
    return tmp_path


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def one_line(found: Output, saying: str) -> None:
    """Refused, in so many words."""
    assert (found.status, found.stdout) == (1, "")
    assert found.stderr == f"sftpfs: not copied: {saying}\n"


# -- what stands in the way ------------------------------------------------------------------


def test_no_link_to_a_directory_is_followed_below_the_destination(place: Path) -> None:
    """Into the source, out of the destination, and below what is copied."""
    precious, system = put(place / "src/f", "precious"), put(place / "outside/conf", "system")
    put(place / "src/a/f", "other")
    put(place / "src/a/sub/g", "g")
    put(place / "src/conf/conf", "new")
    (place / "dst/src").mkdir(parents=True)
    (place / "dst/src/a").symlink_to("../../src")
    (place / "dst/src/conf").symlink_to("../../outside")
    (place / "dst2/src").mkdir(parents=True)
    (place / "dst2/src/a").symlink_to("../../src/a/sub")
    for target in ("dst", "dst2"):
        found = say("cp", "-r", place / "src", place / target)
        assert found.status == 1
        saying = f"cannot overwrite non-directory '{place}/{target}/src/a' with directory '{place}/src/a'"
        assert saying in found.stderr
    assert precious.read_text() == "precious" and system.read_text() == "system"
    assert sorted(os.listdir(place / "src/a/sub")) == ["g"] and os.listdir(place / "outside") == ["conf"]
    assert (place / "dst/src/f").read_text() == "precious"


def test_a_destination_that_is_typed_may_be_a_link(place: Path) -> None:
    put(place / "src/d/f", "f")
    (place / "real").mkdir()
    (place / "link").symlink_to("real")
    assert say("cp", "-r", place / "src", place / "link") == (0, "", "")
    assert say("cp", "-r", f"{place}/src/.", place / "link") == (0, "", "")
    assert (place / "real/src/d/f").read_text() == (place / "real/d/f").read_text() == "f"
    (place / "real/again").symlink_to("src")
    saying = f"cannot overwrite non-directory '{place}/link/again' with directory '{place}/again'"
    put(place / "again/x", "x")
    one_line(say("cp", "-r", place / "again", place / "link"), saying)
    assert not (place / "real/src/x").exists()


def test_a_destination_that_somebody_else_has_just_made_is_there(
    make_mount: MakeMount, tmp_path: Path
) -> None:
    """Though the mount, which looked for it a moment ago, believes it missing: a directory, one below a new
    one, a file to be written over, a link, a tree."""
    mount = make_mount("negative_timeout=600")
    source = put(tmp_path / "f", "new")
    (tmp_path / "link").symlink_to("f")
    put(tmp_path / "tree/f", "new")
    (tmp_path / "tree/link").symlink_to("f")
    (mount.path / "known").mkdir()
    for name in ("dir", "a", "known/dir", "f", "link", "tree"):
        assert not os.path.lexists(mount.path / name)
    for name in ("dir", "a/b", "known/dir"):
        (mount.backing / name).mkdir(parents=True)
    for name in ("f", "link", "tree/f", "tree/link"):
        put(mount.backing / name, "old and longer")
    for target in ("dir", "a/b", "known/dir/", ""):
        assert say("cp", source, f"{mount.path}/{target}") == (0, "", "")
        assert (mount.backing / target / "f").read_text() == "new"
    assert say("cp", "-d", tmp_path / "link", mount.path) == (0, "", "")
    assert say("cp", "-r", tmp_path / "tree", mount.path) == (0, "", "")
    assert os.readlink(mount.backing / "link") == os.readlink(mount.backing / "tree/link") == "f"
    assert (mount.backing / "tree/f").read_text() == "new"


def test_what_is_copied_is_not_written_into_by_another_way(tmp_path: Path) -> None:
    """The same directory under another name: no path shows it."""
    put(tmp_path / "src/a/f", "other")
    put(tmp_path / "src/f", "precious")
    (tmp_path / "dst/src/a").mkdir(parents=True)
    subprocess.run(["mount", "--bind", tmp_path / "src", tmp_path / "dst/src/a"], check=True)
    try:
        found = say("cp", "-r", tmp_path / "src", tmp_path / "dst")
    finally:
        subprocess.run(["umount", tmp_path / "dst/src/a"], check=True)
    one_line(found, f"cannot copy a directory, '{tmp_path}/src/a', into itself, '{tmp_path}/dst/src/a'")
    assert (tmp_path / "src/f").read_text() == "precious"


def test_the_copy_is_not_copied(tmp_path: Path) -> None:
    put(tmp_path / "src/f", "f")
    (tmp_path / "src/again").mkdir()
    (tmp_path / "dst").mkdir()
    subprocess.run(["mount", "--bind", tmp_path / "dst", tmp_path / "src/again"], check=True)
    try:
        found = say("cp", "-r", tmp_path / "src", tmp_path / "dst")
    finally:
        subprocess.run(["umount", tmp_path / "src/again"], check=True)
    assert found.status == 1 and "cannot copy a directory" in found.stderr
    assert sorted(path.name for path in (tmp_path / "dst").rglob("*")) == ["again", "f", "src"]


@pytest.mark.parametrize("link", ["hard", "symbolic"])
def test_two_names_of_one_file_are_written_one_after_the_other(link: str, place: Path) -> None:
    """Whichever is the last, the file is that one whole: never zeros between two ends."""
    sizes = {b"a": 24 * MIB, b"b": 3 * MIB}
    for name, size in sizes.items():
        put(place / "src" / name.decode(), "").write_bytes(name * size)
    for number in range(3):
        tree = place / f"dst{number}" / "src"
        put(tree / "a", "x" * 5 * MIB)
        if link == "hard":
            os.link(tree / "a", tree / "b")
        else:
            (tree / "b").symlink_to("a")
        assert say("cp", "-r", place / "src", tree.parent) == (0, "", "")
        found = (tree / "a").read_bytes()
        assert len(found) == sizes[found[:1]] and found.count(found[:1]) == len(found)


@pytest.mark.parametrize("named", [False, True])
def test_names_linked_on_the_server_are_written_one_after_the_other(
    named: bool, make_mount: MakeMount, backing: Path
) -> None:
    """They show two inode numbers (A15), and only a listing tells that they have other names."""
    sizes = {b"a": 24 * MIB, b"b": 3 * MIB}
    for name, size in sizes.items():
        put(backing / "src" / name.decode(), "").write_bytes(name * size)
    for number in range(3):
        put(backing / f"dst{number}/src/a", "x" * 5 * MIB)
        os.link(backing / f"dst{number}/src/a", backing / f"dst{number}/src/b")
    mount = make_mount(LONG, backing=backing)
    for number in range(3):
        tree = mount.path / f"dst{number}"
        words = (
            [mount.path / "src/a", mount.path / "src/b", tree / "src"]
            if named
            else ["-r", mount.path / "src", tree]
        )
        assert say("cp", *words) == (0, "", "")
        found = (backing / f"dst{number}/src/a").read_bytes()
        assert len(found) == sizes[found[:1]] and found.count(found[:1]) == len(found)
        assert (tree / "src/a").read_bytes() == (tree / "src/b").read_bytes() == found


# -- what does not stand still ---------------------------------------------------------------


@pytest.mark.parametrize("way", ["within a mount", "out of a mount", "local"])
def test_a_file_that_changes_all_the_time_is_told_and_does_not_look_current(
    way: str, make_mount: MakeMount, backing: Path, tmp_path: Path
) -> None:
    size = 40 * MIB
    at_server = put(backing / "from", "")
    at_server.write_bytes(bytes(size))
    os.utime(at_server, (OLD, OLD))
    mount = make_mount(LONG, backing=backing)
    source = at_server if way == "local" else mount.path / "from"
    target = mount.path / "to" if way == "within a mount" else tmp_path / "to"
    done = threading.Event()

    def change() -> None:
        number = 1
        while not done.wait(0.002):
            number += 1
            os.utime(at_server, (OLD, OLD + number))

    changing = threading.Thread(target=change)
    changing.start()
    try:
        found = say("cp", source, target)
    finally:
        done.set()
        changing.join()
    assert found.status == 1
    assert found.stderr == f"sftpfs: changed while it was copied: '{source}'\n"
    assert os.stat(target).st_size == size
    assert int(os.stat(target).st_mtime) < int(os.stat(at_server).st_mtime)


def test_a_file_that_changed_once_is_copied_again(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    at_server = put(backing / "from", "")
    at_server.write_bytes(b"a" * 20 * MIB)
    os.utime(at_server, (OLD, OLD))
    mount = make_mount(LONG, port=counting_proxy.port, backing=backing)
    counting_proxy.set_latency(0)
    counting_proxy.hold_replies("copy-data")
    process = started("cp", mount.path / "from", mount.path / "to")
    eventually(lambda: "copy-data" in counting_proxy.read().requests, what="a copy under way")
    with open(at_server, "r+b") as file:
        file.write(b"NEW!")
    counting_proxy.deliver_replies()
    assert ended(process) == (0, "", "")
    assert (backing / "to").read_bytes() == at_server.read_bytes()
    assert int(os.stat(backing / "to").st_mtime) == int(os.stat(at_server).st_mtime)


def test_names_types_and_modes_are_those_of_the_server(
    make_mount: MakeMount, backing: Path, tmp_path: Path
) -> None:
    for name in ("mode", "type", "gone", "sub/old"):
        put(backing / "tree" / name, name)
    mount = make_mount(LONG, backing=backing)
    begun = time.monotonic()
    for path in (mount.path, *mount.path.rglob("*")):
        path.lstat()
    put(backing / "tree/new", "new")
    put(backing / "tree/sub/new", "new")
    put(backing / "tree/directory/new", "new")
    put(backing / "named", "named")
    (backing / "tree/mode").chmod(0o600)
    (backing / "tree/gone").unlink()
    (backing / "tree/type").unlink()
    (backing / "tree/type").symlink_to("mode")
    assert not (mount.path / "named").exists() or time.monotonic() - begun > ABSENCE_LEASE
    for target in (mount.path / "copy", tmp_path / "copy"):
        assert say("cp", "-r", mount.path / "tree", target) == (0, "", "")
        found = {str(path.relative_to(target)) for path in target.rglob("*")}
        assert found == {"mode", "type", "new", "sub", "sub/old", "sub/new", "directory", "directory/new"}
        assert (target / "mode").stat().st_mode & 0o777 == 0o600
        assert os.readlink(target / "type") == "mode"
    assert say("cp", mount.path / "named", tmp_path / "named") == (0, "", "")
    assert (backing / "copy/mode").stat().st_mode & 0o777 == 0o600


# -- what cannot be kept, and what is left ---------------------------------------------------


def test_what_is_copied_is_copied_though_its_mode_and_times_cannot_be_given(tmp_path: Path) -> None:
    put(tmp_path / "src/f", "new")
    put(tmp_path / "dst/src/f", "old").chmod(0o666)
    for path in ("dst/src/f", "dst/src"):
        os.chown(tmp_path / path, 12345, 12345)
    assert say("cp", "-r", tmp_path / "src", tmp_path / "dst", prefix=UNPRIVILEGED) == (0, "", "")
    assert (tmp_path / "dst/src/f").read_text() == "new"
    found = say("cp", "-rp", tmp_path / "src", tmp_path / "dst", prefix=UNPRIVILEGED)
    kept = "its mode and times could not be kept: Operation not permitted"
    assert found.status == 1
    assert found.stderr.splitlines() == [
        f"sftpfs: copied, but {kept}: '{tmp_path}/dst/src/f'",
        f"sftpfs: copied, but {kept}: '{tmp_path}/dst/src'",
    ]


def test_a_file_of_another_user_on_a_server(tmp_path: Path, open_place: Path) -> None:
    """One may write to it, and give it neither mode nor times: not without -p is that a failure."""
    backing = open_place / "server"
    put(tmp_path / "f", "new")
    put(backing / "f", "old").chmod(0o666)
    with Sshd(open_place / "sshd", subsystem="internal-sftp") as server:
        server.user = "nobody"
        options = [f"port={server.port}", *(f"{word}={value}" for word, value in server.ssh_options())]
        with Mount(f"{server.host}:{backing}", tmp_path / "mnt", backing, options) as mount:
            assert say("cp", tmp_path / "f", mount.path / "f") == (0, "", "")
            found = say("cp", "-p", tmp_path / "f", mount.path / "f")
            assert found.status == 1
            assert found.stderr.startswith("sftpfs: copied, but its mode and times could not be kept: ")
    assert (backing / "f").read_text() == "new"


def test_half_a_file_that_cannot_be_removed_is_named(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path, tmp_path: Path
) -> None:
    counting_proxy.set_latency(0)
    put(tmp_path / "big", "").write_bytes(bytes(64 * MIB))
    mount = make_mount("timeout=3", port=counting_proxy.port, backing=backing)
    mount.expect(OUTAGE + "|could not be written|data lost|saved")
    counting_proxy.hold_replies("WRITE")
    process = started("cp", tmp_path / "big", mount.path / "to")
    eventually(lambda: counting_proxy.read().requests.get("WRITE", 0) > 4, what="a copy under way")
    counting_proxy.pause()
    found = ended(process)
    counting_proxy.deliver_replies()
    counting_proxy.resume()
    assert found.status == 1
    assert found.stderr.endswith(f"; what there is of '{mount.path}/to' could not be removed\n")
    assert (backing / "to").exists()
    mount.close(clean=False)


def test_deeper_than_any_stack_or_path(tmp_path: Path) -> None:
    """With few descriptors, as there are in a process of a limit."""
    depth = 1500
    top = tmp_path / "top"
    try:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        for number in range(depth):
            name = "top" if not number else "d" * 20
            os.mkdir(name, dir_fd=descriptor)
            below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
            os.mkdir("beside", dir_fd=descriptor)
            os.close(os.open("beside/g", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        os.close(descriptor)
        assert say("cp", "-r", top, tmp_path / "copy", prefix=("prlimit", "--nofile=256")) == (0, "", "")
        count = "find . -type f | wc -l"
        assert subprocess.check_output(["sh", "-c", count], cwd=tmp_path / "copy").split() == [
            b"%d" % (2 * depth)
        ]
    finally:
        subprocess.run(["rm", "-rf", top, tmp_path / "copy"], check=True)


def test_descriptors_may_be_closed_as_soon_as_they_are_not_in_use(tmp_path: Path) -> None:
    """Other threads may need them at any moment: their number is another directory's then."""
    for name in ("a", "b"):
        (tmp_path / "s" / name / "below").mkdir(parents=True)
        (tmp_path / "s" / name / "below" / "f").write_text(name)
    program = (
        "import sys; from sftpfs.cli.copy import directories; directories.MOST_OPEN = 0; "
        "from sftpfs.cli.main import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "cp", "-r", tmp_path / "s", tmp_path / "t"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [(tmp_path / "t" / name / "below" / "f").read_text() for name in ("a", "b")] == ["a", "b"]


# -- the command line ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "s -r t",
        "-r s t",
        "s t -r",
        "-R s t",
        "-aR s t",
        "-dR s t",
        "-rf s t",
        "-Rpf s t",
        "s -a t",
        "-fr -- s t",
    ],
)
def test_letters_stand_anywhere_as_with_cp(line: str, tmp_path: Path) -> None:
    put(tmp_path / "s/d/f", "f")
    words = [str(tmp_path / word) if word in "st" else word for word in line.split()]
    assert say("cp", *words) == (0, "", "")
    assert (tmp_path / "t/d/f").read_text() == "f"


def test_two_sources_of_one_name(tmp_path: Path) -> None:
    """The first is copied and the others are, as with cp; one that is named twice is copied once."""
    for name in ("a/f", "b/f", "c/g"):
        put(tmp_path / name, name)
    (tmp_path / "t").mkdir()
    assert say("cp", tmp_path / "a/f", tmp_path / "a/../a/f", tmp_path / "t") == (0, "", "")
    found = say("cp", tmp_path / "a/f", tmp_path / "b/f", tmp_path / "c/g", tmp_path / "t")
    one_line(found, f"will not overwrite just-created '{tmp_path}/t/f' with '{tmp_path}/b/f'")
    assert (tmp_path / "t/f").read_text() == "a/f" and (tmp_path / "t/g").read_text() == "c/g"


def test_a_file_with_letters_behind_it(tmp_path: Path) -> None:
    put(tmp_path / "a", "a")
    os.utime(tmp_path / "a", (OLD, OLD))
    assert say("cp", tmp_path / "a", "-p", tmp_path / "t") == (0, "", "")
    assert os.stat(tmp_path / "t").st_mtime == OLD
    put(tmp_path / "-r", "named as an option")
    assert say("cp", "--", tmp_path / "-r", tmp_path / "t") == (0, "", "")
    assert (tmp_path / "t").read_text() == "named as an option"


def test_verbose_says_what_cp_says(tmp_path: Path) -> None:
    put(tmp_path / "s/d/f", "f")
    (tmp_path / "s/link").symlink_to("d")
    by_cp = subprocess.check_output(["cp", "-rv", "s", "t"], cwd=tmp_path, text=True)
    found = say("cp", "-rv", tmp_path / "s", tmp_path / "u")
    assert found.status == 0
    expected = by_cp.replace("'s", f"'{tmp_path}/s").replace("'t", f"'{tmp_path}/u")
    assert sorted(found.stdout.splitlines()) == sorted(expected.splitlines())


def test_links_are_copied_as_links_with_d(tmp_path: Path) -> None:
    put(tmp_path / "f", "f")
    (tmp_path / "link").symlink_to("f")
    assert say("cp", "-d", tmp_path / "link", tmp_path / "copy") == (0, "", "")
    assert os.readlink(tmp_path / "copy") == "f"
    assert say("cp", tmp_path / "link", tmp_path / "followed") == (0, "", "")
    assert not (tmp_path / "followed").is_symlink()


def test_force_replaces_what_cannot_be_opened(tmp_path: Path) -> None:
    put(tmp_path / "f", "new")
    program = put(tmp_path / "program", "")
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([program, "600"]) as running:
        try:
            saying = f"cannot create regular file '{program}': Text file busy"
            one_line(say("cp", tmp_path / "f", program), saying)
            assert say("cp", "-f", tmp_path / "f", program) == (0, "", "")
        finally:
            running.kill()
    assert program.read_text() == "new"
