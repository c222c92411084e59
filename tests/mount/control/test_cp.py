"""``sftpfs cp``: copies made by the server inside one mount, and through this machine elsewhere."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sftpfs.control.socket_location import socket_paths
from sftpfs.host.mountpoint import mounted_at
from tests.conftest import MakeMount
from tests.harness.command import COMMAND, ended, environment, say, started
from tests.harness.counting import CountingProxy
from tests.harness.kernel import opened
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually
from tests.sshd import SFTP_SERVER, Sshd

MIB = 1 << 20
LONG = "dcache_timeout=600"
"""Seconds no test takes: what is right after a copy is right because of it."""

OLD = 1_600_000_000


def content(size: int) -> bytes:
    """Bytes that show a piece in the wrong place."""
    block = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(4096))
    return b"".join(b"%16d" % part + block[16:] for part in range(size // len(block) + 1))[:size]


def copied(*words: str | Path) -> None:
    """A copy that goes well and says nothing."""
    assert say("cp", *words) == (0, "", "")


def refused(*words: str | Path, saying: str) -> None:
    """A copy that fails in one line."""
    found = say("cp", *words)
    assert (found.status, found.stdout) == (1, "")
    assert saying in found.stderr
    assert found.stderr.count("\n") == 1


# -- on the server ---------------------------------------------------------------------------


def test_content_does_not_travel(make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path) -> None:
    """Larger than some pieces, and over a file that exists, is longer and known to the kernel."""
    counting_proxy.set_latency(0)
    data = content(20 * MIB + 7)
    (backing / "from").write_bytes(data)
    os.chmod(backing / "from", 0o640)
    os.utime(backing / "from", (OLD + 1, OLD))
    (backing / "to").write_bytes(bytes(24 * MIB))
    mount = make_mount(LONG, backing=backing, port=counting_proxy.port)
    with opened(mount.path / "to", os.O_RDONLY) as fd:
        assert os.pread(fd, 4, 0) == bytes(4)
        counting_proxy.reset()
        copied(mount.path / "from", mount.path / "to")
        count = counting_proxy.read()
        assert count.requests.get("copy-data") == 3, count.requests
        assert "WRITE" not in count.requests
        assert count.sent.get("data", 0) == 0, count.sent
        found = os.stat(mount.path / "to")
        assert (found.st_size, stat.S_IMODE(found.st_mode), found.st_mtime) == (len(data), 0o640, OLD)
        assert os.pread(fd, MIB, 0) == data[:MIB]
    assert (backing / "to").read_bytes() == data
    assert (mount.path / "to").read_bytes() == data
    on_server = os.stat(backing / "to")
    assert (stat.S_IMODE(on_server.st_mode), on_server.st_mtime) == (0o640, OLD)


def test_a_tree(make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path) -> None:
    counting_proxy.set_latency(0)
    for number in range(60):
        directory = backing / "tree" / f"d{number % 3}" / "deep"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(b"%d" % number * number)
        os.chmod(directory / f"f{number}", 0o400 + number % 8)
        os.utime(directory / f"f{number}", (OLD, OLD + number))
    (backing / "tree" / "empty").mkdir(mode=0o750)
    (backing / "tree" / "link").symlink_to("d1/deep/f1")
    (backing / "tree" / "dangling").symlink_to("nowhere")
    os.utime(backing / "tree" / "empty", (OLD, OLD))
    os.utime(backing / "tree", (OLD, OLD))
    mount = make_mount(LONG, backing=backing, port=counting_proxy.port)
    assert not (mount.path / "copy").exists()
    counting_proxy.reset()
    copied("-r", mount.path / "tree", mount.path / "copy")
    count = counting_proxy.read()
    assert count.requests["copy-data"] == 59
    assert "WRITE" not in count.requests
    assert count.sent.get("data", 0) == 0, count.sent
    assert described(backing / "copy") == described(backing / "tree")
    assert described(mount.path / "copy") == described(backing / "tree")
    copied("-a", mount.path / "tree", mount.path / "copy")
    assert described(backing / "copy" / "tree") == described(backing / "tree")


def described(top: Path) -> dict[str, object]:
    """Everything below ``top``, with what a copy keeps."""
    found: dict[str, object] = {}
    for path in (top, *top.rglob("*")):
        seen = path.lstat()
        kept: object = (
            path.readlink() if path.is_symlink() else (stat.S_IMODE(seen.st_mode), int(seen.st_mtime))
        )
        found[str(path.relative_to(top))] = kept, path.read_bytes() if stat.S_ISREG(seen.st_mode) else b""
    return found


def test_unsent_data_of_the_source_is_copied(make_mount: MakeMount) -> None:
    mount = make_mount(LONG)
    with opened(mount.path / "from", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"written and not closed")
        copied(mount.path / "from", mount.path / "to")
        assert (mount.backing / "to").read_bytes() == b"written and not closed"
        assert (mount.path / "to").read_bytes() == b"written and not closed"


def test_a_source_that_changed_on_the_server(make_mount: MakeMount, backing: Path) -> None:
    """It is copied as it is there, whatever the leases say."""
    (backing / "from").write_bytes(b"old")
    os.utime(backing / "from", (OLD, OLD))
    mount = make_mount(LONG, backing=backing)
    assert (mount.path / "from").read_bytes() == b"old"
    (backing / "from").write_bytes(b"new and longer")
    copied(mount.path / "from", mount.path / "to")
    assert (backing / "to").read_bytes() == b"new and longer"
    assert os.stat(mount.path / "from").st_size == 14
    assert int(os.stat(backing / "to").st_mtime) == int(os.stat(backing / "from").st_mtime)


@pytest.mark.parametrize("size", [25 * MIB, 10 * MIB])
def test_a_source_that_changes_meanwhile(
    size: int, make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """Grown or cut, it is copied again: the copy is what the file was in the end."""
    data = content(20 * MIB)
    (backing / "from").write_bytes(data)
    mount = make_mount(LONG, port=counting_proxy.port, backing=backing)
    counting_proxy.set_latency(0)
    counting_proxy.hold_replies("copy-data")
    process = started("cp", mount.path / "from", mount.path / "to")
    eventually(lambda: "copy-data" in counting_proxy.read().requests, what="a copy under way")
    os.truncate(backing / "from", size)
    counting_proxy.deliver_replies()
    assert ended(process) == (0, "", "")
    assert (backing / "to").read_bytes() == data[:size].ljust(size, b"\0")
    assert os.stat(mount.path / "to").st_size == size


def test_what_another_client_puts_in_place_of_a_copy_is_left_alone(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    """While the connection is away: the copy neither goes on in it, nor is it removed as half a copy."""
    (backing / "source").write_bytes(b"s" * (24 * MIB))
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    mount.expect("the connection to the server is lost|the connection is back after|cannot be reached")
    counting_proxy.refuse()
    counting_proxy.cut_at("copy-data", carried_out=True)
    copying = started("cp", mount.path / "source", mount.path / "copy")
    eventually(lambda: not counting_proxy.cuts_left(), 30, "the connection lost")
    (backing / "theirs").write_bytes(b"t" * (32 * MIB))
    (backing / "theirs").rename(backing / "copy")
    counting_proxy.refuse(False)
    found = ended(copying)
    assert found.status == 1 and "Stale file handle" in found.stderr, found
    assert (backing / "copy").read_bytes() == b"t" * (32 * MIB)


def test_a_copy_outlives_its_connection(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    counting_proxy.set_latency(0)
    data = content(30 * MIB)
    (backing / "from").write_bytes(data)
    mount = make_mount(port=counting_proxy.port, backing=backing)
    mount.expect("the connection to the server is lost|the connection is back")
    counting_proxy.cut_at("copy-data", carried_out=True)
    counting_proxy.cut_at("copy-data", carried_out=False)
    copied(mount.path / "from", mount.path / "to")
    assert counting_proxy.cuts_left() == 0
    assert (backing / "to").read_bytes() == data


def test_names_linked_on_the_server_copied_onto_each_other(make_mount: MakeMount, backing: Path) -> None:
    """The mount cannot tell that they are one file (A15); a copy that emptied it first would lose it."""
    data = content(9 * MIB)
    (backing / "one").write_bytes(data)
    os.link(backing / "one", backing / "two")
    mount = make_mount(backing=backing)
    copied(mount.path / "one", mount.path / "two")
    assert (backing / "one").read_bytes() == data
    assert os.path.samefile(backing / "one", backing / "two")
    assert (mount.path / "two").read_bytes() == data


# -- through this machine --------------------------------------------------------------------


def test_a_server_without_copy_data(make_mount: MakeMount, backing: Path, tmp_path: Path) -> None:
    data = content(9 * MIB + 1)
    (backing / "from").write_bytes(data)
    os.utime(backing / "from", (OLD, OLD))
    (backing / "d").mkdir()
    (backing / "d" / "small").write_bytes(b"small")
    with Sshd(tmp_path / "sshd", subsystem=f"{SFTP_SERVER} -P copy-data") as server:
        mount = make_mount(server=server, backing=backing)
        copied(mount.path / "from", mount.path / "to")
        copied("-r", mount.path / "d", mount.path / "e")
        copied_through_here(mount, "the server has no copy-data (OpenSSH has it since 9.0)")
        mount.close()
    assert (backing / "to").read_bytes() == data
    assert os.stat(backing / "to").st_mtime == OLD
    assert (backing / "e" / "small").read_bytes() == b"small"


def copied_through_here(mount: Mount, why: str) -> None:
    """A copy of ``from`` that the mount is asked for in vain: -v says why, and it is made all the same."""
    found = say("cp", "-v", mount.path / "from", mount.path / "again")
    assert (found.status, found.stderr) == (0, "")
    reason, named = found.stdout.splitlines()
    assert reason.startswith(f"'{mount.path / 'from'}' passes through this machine: ") and why in reason, (
        reason
    )
    assert named == f"'{mount.path / 'from'}' -> '{mount.path / 'again'}'"
    assert (mount.backing / "again").read_bytes() == (mount.backing / "from").read_bytes()


def test_a_mount_that_cannot_be_asked(make_mount: MakeMount, backing: Path) -> None:
    (backing / "from").write_bytes(content(MIB + 1))
    mount = make_mount(backing=backing)
    at = mounted_at(str(mount.path))
    assert at is not None
    for path in socket_paths(at):
        Path(path).unlink(missing_ok=True)
    copied(mount.path / "from", mount.path / "to")
    assert (backing / "to").read_bytes() == content(MIB + 1)
    copied_through_here(mount, "has no control socket")


def test_a_server_that_refuses(make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path) -> None:
    """Its word for anything is FAILURE: the copy is made all the same."""
    counting_proxy.set_latency(0)
    (backing / "from").write_bytes(b"x" * 1000)
    mount = make_mount(port=counting_proxy.port, backing=backing)
    counting_proxy.spoil("copy-data", "failure")
    copied(mount.path / "from", mount.path / "to")
    assert counting_proxy.spoiled() == 1
    copied_through_here(mount, "Input/output error")
    assert counting_proxy.heal() == 2
    assert (backing / "to").read_bytes() == b"x" * 1000


def test_into_a_mount_out_of_it_and_between_two(make_mount: MakeMount, tmp_path: Path) -> None:
    first, second = make_mount(), make_mount()
    data = content(5 * MIB)
    (tmp_path / "from").write_bytes(data)
    os.utime(tmp_path / "from", (OLD, OLD))
    copied(tmp_path / "from", first.path / "a")
    copied(first.path / "a", second.path)
    copied(second.path / "a", tmp_path / "to")
    copied(tmp_path / "to", tmp_path / "again")
    for path in (first.backing / "a", second.backing / "a", tmp_path / "to", tmp_path / "again"):
        assert path.read_bytes() == data
        assert os.stat(path).st_mtime == OLD


# -- what is refused, and what is left -------------------------------------------------------


def test_what_is_refused(make_mount: MakeMount, backing: Path) -> None:
    os.mkfifo(backing / "pipe")
    mount = make_mount(backing=backing)
    top = mount.path
    (top / "d" / "below").mkdir(parents=True)
    (top / "f").write_bytes(b"f")
    (top / "g").write_bytes(b"g")
    (top / "to f").symlink_to("f")
    refused(top / "f", top / "f", saying=f"'{top}/f' and '{top}/f' are the same file")
    refused(top / "f", top / "to f", saying=f"'{top}/f' and '{top}/to f' are the same file")
    refused(top / "d", top / "e", saying=f"-r not specified; omitting directory '{top}/d'")
    refused(
        "-r", top / "d", top / "d", saying=f"cannot copy a directory, '{top}/d', into itself, '{top}/d/d'"
    )
    refused("-r", top / "d", top / "d" / "below" / "new", saying="cannot copy a directory")
    refused(top / "f", top / "g", top / "none", saying="none' is not a directory")
    refused(
        "-r",
        top / "d",
        top / "f",
        saying=f"cannot overwrite non-directory '{top}/f' with directory '{top}/d'",
    )
    refused(top / "none", top / "e", saying=f"cannot stat '{top}/none': No such file or directory")
    refused(top / "pipe", top / "e", saying="pipe' is no file, directory or link")
    refused(top / "f", f"{top}/e/", saying=f"cannot create regular file '{top}/e/': Not a directory")
    refused(
        top / "f",
        top / "none" / "e",
        saying=f"cannot create regular file '{top}/none/e': No such file or directory",
    )
    refused(top / "f", saying="cp needs DST")
    assert (top / "f").read_bytes() == b"f"
    assert sorted(os.listdir(mount.backing)) == ["d", "f", "g", "pipe", "to f"]


def test_a_source_that_is_gone_leaves_the_other_as_it_was(make_mount: MakeMount, backing: Path) -> None:
    """What is there is touched only once the source is open."""
    for name in ("from", "to"):
        (backing / name).write_text(name)
    mount = make_mount(LONG, backing=backing)
    for name in ("from", "to"):
        os.stat(mount.path / name)
    (backing / "from").unlink()
    refused(mount.path / "from", mount.path / "to", saying=f"'{mount.path}/from': No such file or directory")
    assert (backing / "to").read_text() == "to"


def test_the_rest_is_copied_where_one_fails(make_mount: MakeMount) -> None:
    mount = make_mount()
    (mount.path / "d").mkdir()
    for name in ("a", "b"):
        (mount.path / name).write_bytes(b"x")
    (mount.path / "d" / "b").mkdir()
    saying = f"cannot overwrite directory '{mount.path}/d/b' with non-directory"
    refused(mount.path / "a", mount.path / "b", mount.path / "d", saying=saying)
    assert (mount.backing / "d" / "a").read_bytes() == b"x"


@pytest.mark.parametrize("before", [b"", b"what was there"])
def test_an_interrupted_copy_leaves_nothing(
    before: bytes, make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path
) -> None:
    (backing / "from").write_bytes(content(40 * MIB))
    if before:
        (backing / "to").write_bytes(before)
    mount = make_mount(LONG, port=counting_proxy.port, backing=backing)
    counting_proxy.set_latency(0)
    counting_proxy.hold_replies("copy-data")
    process = started("cp", mount.path / "from", mount.path / "to")
    eventually(lambda: "copy-data" in counting_proxy.read().requests, what="a copy under way")
    closed = counting_proxy.read().requests.get("CLOSE", 0)
    process.send_signal(signal.SIGINT)
    eventually(lambda: counting_proxy.read().requests.get("CLOSE", 0) >= closed + 2, what="the copy given up")
    counting_proxy.deliver_replies()
    assert ended(process).status == 130
    assert not (backing / "to").exists()
    assert not (mount.path / "to").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory with room for 3 MiB; to be asked for before the server, which has mounts of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_no_half_file(
    small_disk: Path, counting_proxy: CountingProxy, make_mount: MakeMount
) -> None:
    counting_proxy.set_latency(0)
    (small_disk / "from").write_bytes(bytes(2 * MIB))
    mount = make_mount(LONG, backing=small_disk, port=counting_proxy.port)
    counting_proxy.reset()
    refused(mount.path / "from", mount.path / "to", saying="to': No space left on device")
    assert "WRITE" not in counting_proxy.read().requests
    assert os.listdir(small_disk) == os.listdir(mount.path) == ["from"]


def test_progress_is_shown_on_a_terminal(make_mount: MakeMount, counting_proxy: CountingProxy) -> None:
    mount = make_mount(port=counting_proxy.port)
    (mount.path / "from").write_bytes(bytes(3 * MIB))
    counting_proxy.set_latency(0.3)
    command = shlex.join([*COMMAND, "cp", str(mount.path / "from"), str(mount.path / "to")])
    found = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=True,
    )
    assert "%" in found.stdout
    assert "1 file and 3.00 MiB copied in " in found.stdout
    assert "3.00 MiB of it on the server" in found.stdout
