"""Open files on servers that take or promise less than OpenSSH's: each differs in one respect."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sftpfs.mount import salvage_store
from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.foreign import ForeignServer
from tests.harness.mounts import Mount
from tests.harness.waiting import eventually


class There:
    """A mount of a server that differs, and the directory as the server has it."""

    def __init__(self, server: ForeignServer, mount: Mount) -> None:
        self.server = server
        self.mount = mount
        self.here = mount.path
        self.there = mount.backing


MakeThere = Callable[..., There]


@pytest.fixture
def servers() -> Iterator[list[ForeignServer]]:
    """Those of this test; requested first, they outlive its mounts."""
    made: list[ForeignServer] = []
    yield made
    for server in made:
        server.close()


@pytest.fixture
def make_there(servers: list[ForeignServer], make_mount: MakeMount, backing: Path) -> MakeThere:
    """``make_there(respect, *options)``: a mount of such a server; absence is not believed unless asked."""

    def make(respect: str, *options: str) -> There:
        server = ForeignServer(respect)
        servers.append(server)
        return There(server, make_mount("negative_timeout=0", *options, port=server.port, backing=backing))

    return make


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o640)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def contradicted(there: There, words: str) -> None:
    """The log has told, once, what the server does not do."""
    there.mount.expect(words)
    assert there.mount.log().count(words) == 1, there.mount.log()


@pytest.mark.parametrize("respect", ["none", "opens what is to be new"])
def test_a_name_another_client_has_taken_is_not_emptied(make_there: MakeThere, respect: str) -> None:
    there = make_there(respect, "negative_timeout=60")
    assert not (there.here / "taken").exists()
    (there.there / "taken").write_text("of another")
    with pytest.raises(FileExistsError):
        os.open(there.here / "taken", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert (there.there / "taken").read_text() == "of another"
    (there.here / "new").write_text("ours")
    assert (there.there / "new").read_text() == "ours"
    assert not (there.here / "other").exists()
    (there.there / "other").write_text("of another")
    with (there.here / "other").open("a") as file:
        file.write(" and ours")
    assert (there.there / "other").read_text() == "of another and ours"


@pytest.mark.parametrize(
    ("respect", "words"),
    [
        ("refuses what is to be new", "does not open a file that is to be new"),
        ("fails what is to be new", "does not open a file that is to be new"),
        ("refuses a mode", "does not create a file with permissions"),
        ("refuses to read and write", ""),
    ],
)
def test_files_are_made_in_the_words_a_server_takes(make_there: MakeThere, respect: str, words: str) -> None:
    there = make_there(respect)
    with opened(there.here / "made", os.O_CREAT | os.O_EXCL | os.O_RDWR) as descriptor:
        os.write(descriptor, b"content")
        os.fsync(descriptor)
        assert os.pread(descriptor, 100, 0) == b"content"
    assert (there.there / "made").read_bytes() == b"content"
    assert (there.there / "made").stat().st_mode & 0o777 == 0o640
    with pytest.raises(FileExistsError):
        os.open(there.here / "made", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    (there.here / "made").write_text("again")
    assert (there.there / "made").read_text() == "again"
    if words:
        contradicted(there, words)


@pytest.mark.parametrize(
    ("respect", "honoured"), [("none", True), ("opens what is to be new", False), ("opens one", False)]
)
def test_what_the_first_new_file_shows_saves_the_look_before_the_others(
    make_there: MakeThere, respect: str, honoured: bool
) -> None:
    """Not where a second handle is refused whatever for, nor where a name can be made twice."""
    there = make_there(respect, "negative_timeout=60")
    (there.here / "first").write_text("first")
    assert not (there.here / "second").exists()
    before = len(there.server.requests())
    with opened(there.here / "second", os.O_CREAT | os.O_EXCL | os.O_WRONLY) as descriptor:
        os.write(descriptor, b"second")
    sent = there.server.requests()[before:]
    assert ("LSTAT" not in sent[: sent.index("OPEN")]) is honoured, sent
    assert [(there.there / name).read_text() for name in ("first", "second")] == ["first", "second"]
    if respect == "opens what is to be new":
        contradicted(there, "opens an existing file although it was to be new")


def test_what_a_server_decides_as_it_is_closed_is_asked_about_once(make_there: MakeThere) -> None:
    """Behind the CLOSE, and not before it as well."""
    there = make_there("none")
    (there.here / "first").write_text("first")
    descriptor = os.open(there.here / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.write(descriptor, b"content")
    before = len(there.server.requests())
    os.close(descriptor)
    sent = there.server.requests()[before:]
    assert [name for name in sent if name != "READDIR"][:3] == ["WRITE", "CLOSE", "LSTAT"]
    assert (there.here / "new").stat().st_mtime == (there.there / "new").stat().st_mtime // 1
    assert (there.here / "new").read_text() == "content"


def test_appends_are_put_at_the_end_that_is_told(make_there: MakeThere) -> None:
    there = make_there("refuses appends")
    with (there.here / "new").open("a") as file:
        file.write("made to append to it")
    (there.there / "log").write_text("first\n")
    with (there.here / "log").open("a", buffering=1) as file:
        file.write("second\n")
        os.fsync(file.fileno())
        with (there.there / "log").open("a") as other:
            other.write("of another\n")
        file.write("third\n")
        os.fsync(file.fileno())
        for number in range(2000):
            file.write(f"{number}\n")
    expected = "first\nsecond\nof another\nthird\n" + "".join(f"{number}\n" for number in range(2000))
    assert (there.there / "log").read_text() == expected
    contradicted(there, "does not open files to append to them")


def test_a_file_is_read_and_written_by_a_handle_each(make_there: MakeThere) -> None:
    there = make_there("none")
    (there.there / "data").write_bytes(bytes(300_000))
    with opened(there.here / "data", os.O_RDWR) as descriptor:
        assert os.pread(descriptor, 10, 299_995) == bytes(5)
        os.pwrite(descriptor, b"mark", 150_000)
        os.fsync(descriptor)
        assert os.pread(descriptor, 8, 149_998) == b"\0\0mark\0\0"
        (there.here / "data").rename(there.here / "renamed")
        os.pwrite(descriptor, b"end", 300_000)
        os.fsync(descriptor)
        assert os.pread(descriptor, 100, 299_998) == b"\0\0end"
    assert (there.there / "renamed").read_bytes()[149_998:150_006] == b"\0\0mark\0\0"


def test_a_file_that_has_no_name_before_it_is_closed(make_there: MakeThere) -> None:
    there = make_there("names as it closes")
    data = os.urandom(700_001)
    (there.here / "made").write_bytes(data)
    assert (there.there / "made").read_bytes() == data and (there.here / "made").read_bytes() == data
    assert (there.here / "made").stat().st_size == len(data)
    (there.here / "made").write_bytes(b"other content")
    assert (there.there / "made").read_bytes() == b"other content"
    assert (there.here / "made").read_bytes() == b"other content"
    shutil.copy2("/etc/passwd", there.here / "copied")
    assert (there.there / "copied").stat().st_mtime == int(os.stat("/etc/passwd").st_mtime)
    subprocess.run(
        ["sh", "-c", "{ echo one; /bin/echo two; echo three; } > grouped; /bin/echo more >> grouped"],
        cwd=there.here,
        check=True,
        timeout=60,
    )
    assert (there.there / "grouped").read_text() == "one\ntwo\nthree\nmore\n"
    with opened(there.here / "both", os.O_CREAT | os.O_RDWR) as descriptor:
        os.write(descriptor, b"written")
        assert os.pread(descriptor, 100, 0) == b"written"
        os.write(descriptor, b" and read")
        assert os.pread(descriptor, 100, 0) == b"written and read"
    assert (there.there / "both").read_bytes() == b"written and read"
    assert not list(there.there.glob("*.in"))


def test_a_file_that_is_emptied_is_empty_here_before_it_is_there(make_there: MakeThere) -> None:
    """The server shows the old content until the file is closed; that it is gone then is no loss."""
    there = make_there("names as it closes")
    (there.there / "file").write_bytes(b"old" * 1000)
    with opened(there.here / "file", os.O_WRONLY | os.O_TRUNC):
        assert os.stat(there.here / "file").st_size == 0
    assert (there.there / "file").read_bytes() == b""
    assert (there.here / "file").read_bytes() == b""
    with opened(there.here / "file", os.O_WRONLY | os.O_TRUNC) as writer:
        os.write(writer, b"new")
        assert os.stat(there.here / "file").st_size == 3
    (there.there / "other").write_bytes(b"old" * 1000)
    with opened(there.here / "other", os.O_WRONLY | os.O_TRUNC) as writer:
        os.write(writer, b"new")
        os.fsync(writer)
        with pytest.raises(OSError) as caught:
            (there.here / "other").read_bytes()  # it would be the old content
        assert caught.value.errno == errno.EBUSY
    assert (there.here / "other").read_bytes() == b"new"
    with opened(there.here / "file", os.O_WRONLY | os.O_TRUNC):
        assert os.stat(there.here / "file").st_size == 0
    assert (there.there / "file").read_bytes() == (there.here / "file").read_bytes() == b""


@pytest.mark.parametrize(
    ("respect", "number"), [("refuses as it closes", errno.EDQUOT), ("cuts as it closes", errno.EIO)]
)
def test_what_is_refused_as_it_is_closed_is_told_and_saved(
    make_there: MakeThere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, respect: str, number: int
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    there = make_there(respect)
    there.mount.expect("inode .* refused what was written as the file was closed|saved in")
    (there.here / "little").write_bytes(bytes(1000))
    much = os.urandom(5000)
    with pytest.raises(OSError) as caught:
        (there.here / "much").write_bytes(much)
    assert caught.value.errno == number
    assert (there.here / "much").stat().st_size == 1000
    copied = subprocess.run(
        ["cp", "/etc/passwd", there.here / "copied"], capture_output=True, text=True, timeout=60, check=False
    )
    assert copied.returncode == 1 and os.strerror(number) in copied.stderr
    assert there.mount.log().count("refused what was written as the file was closed") == 2
    there.mount.close()
    saved = salvage_store.all_saved(str(tmp_path / "state/sftpfs/lost"))
    found = {os.path.basename(one.path): Path(one.base).read_bytes() for one in saved}
    assert found == {b"much": much, b"copied": Path("/etc/passwd").read_bytes()}
    assert {one.errno for one in saved} == {number}


def test_an_open_that_may_not_be_is_refused_once(make_there: MakeThere) -> None:
    there = make_there("none")
    (there.here / "made").write_text("so all of it is known to be taken")
    before = there.server.requests().count("OPEN")
    with pytest.raises(IsADirectoryError):
        os.open(there.here, os.O_WRONLY)
    with pytest.raises(FileNotFoundError):
        os.open(there.here / "none" / "f", os.O_CREAT | os.O_WRONLY)
    assert there.server.requests().count("OPEN") - before <= 1


def test_openssh_is_heard_as_it_closes_though_nobody_waits(
    counting_proxy: CountingProxy, make_mount: MakeMount, backing: Path
) -> None:
    (backing / "read").write_text("content")
    mount = make_mount("max_conns=1", port=counting_proxy.port, backing=backing)
    mount.expect("inode .* refused what was written as the file was closed|not on the server|lost")
    mount.ends_with = {74}
    counting_proxy.spoil("CLOSE", "failure")
    assert (mount.path / "read").read_text() == "content"
    (mount.path / "written").write_text("content")
    eventually(lambda: "refused what was written" in mount.log(), what="the server's word")
    assert mount.log().count("refused what was written") == 1
    counting_proxy.heal()
    mount.close()


@pytest.mark.parametrize(
    ("respect", "words"),
    [
        ("gives handles twice", "gave one handle to two files"),
        ("opens one", "opens one file at a time"),
    ],
)
def test_one_handle_at_a_time_where_the_server_has_no_more(
    make_there: MakeThere, respect: str, words: str
) -> None:
    there = make_there(respect, "max_conns=1")
    there.mount.expect("SFTP session .* closed|the connection to the server is lost|the connection is back")
    names = [f"f{number}" for number in range(8)]
    for name in names:
        (there.there / name).write_bytes(name.encode() * 20_000)
    files = [(there.here / name).open("rb", buffering=0) for name in names]
    try:
        for file, name in [*zip(files, names, strict=True)] * 2:
            assert os.pread(file.fileno(), 40, 20_000) == (name.encode() * 20)
    finally:
        for file in files:
            file.close()
    assert sorted(os.listdir(there.here)) == names
    contradicted(there, words)
    with (there.here / "out").open("wb", buffering=0) as out, (there.here / "log").open("wb") as log:
        for name in names:
            out.write((there.here / name).read_bytes())
            log.write(name.encode())
    assert (there.there / "out").read_bytes() == b"".join(name.encode() * 20_000 for name in names)
    assert (there.there / "log").read_text() == "".join(names)
    shutil.copytree(there.there, there.here / "copied")
    for name in names:
        assert (there.there / "copied" / name).read_bytes() == name.encode() * 20_000


def test_a_server_that_empties_what_it_opens_is_found_out_by_one_file(make_there: MakeThere) -> None:
    there = make_there("empties what it opens to write")
    there.mount.expect("emptied it")
    for name in ("first", "second", "third"):
        (there.there / name).write_bytes(b"content")
    with pytest.raises(OSError) as caught:
        os.open(there.here / "first", os.O_WRONLY)
    assert caught.value.errno == errno.EIO
    contradicted(there, "takes whole new files only")
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND):
        with pytest.raises(OSError) as caught:
            os.open(there.here / "second", flags)
        assert caught.value.errno == errno.EOPNOTSUPP
    assert (there.there / "second").read_bytes() == (there.here / "second").read_bytes() == b"content"
    (there.here / "third").write_bytes(b"whole")
    (there.here / "new").write_bytes(b"whole")
    assert (there.there / "third").read_bytes() == (there.there / "new").read_bytes() == b"whole"


@pytest.mark.parametrize("respect", ["has no times", "has one time"])
def test_times_that_stand_still_prove_nothing(make_there: MakeThere, respect: str) -> None:
    there = make_there(respect)
    (there.there / "little").write_bytes(b"A" * 5)
    (there.there / "large").write_bytes(b"A" * 300_000)
    for name in ("little", "large"):
        size = (there.there / name).stat().st_size
        assert (there.here / name).read_bytes() == b"A" * size
        assert (there.here / name).read_bytes() == b"A" * size
        (there.there / name).write_bytes(b"B" * size)
        assert (there.here / name).read_bytes() == b"B" * size
    contradicted(there, "gives a changed file the time it had before")


def test_a_server_that_empties_what_it_closes_is_found_out_by_one_file(make_there: MakeThere) -> None:
    there = make_there("empties as it closes")
    there.mount.expect("refused what was written as the file was closed|saved in")
    for name in ("first", "second"):
        (there.there / name).write_bytes(b"content")
    descriptor = os.open(there.here / "first", os.O_WRONLY)
    os.write(descriptor, b"C")
    with pytest.raises(OSError) as caught:
        os.close(descriptor)
    assert caught.value.errno == errno.EIO
    contradicted(there, "takes whole new files only")
    for attempt in (
        lambda: os.open(there.here / "second", os.O_WRONLY),
        lambda: os.truncate(there.here / "second", 10),
    ):
        with pytest.raises(OSError) as caught:
            attempt()
        assert caught.value.errno == errno.EOPNOTSUPP
    assert (there.there / "second").read_bytes() == b"content"


def test_a_file_emptied_though_nothing_was_written_is_told(make_there: MakeThere) -> None:
    there = make_there("empties as it closes")
    there.mount.expect("refused what was written as the file was closed|takes whole new files only")
    (there.there / "file").write_bytes(b"content")
    descriptor = os.open(there.here / "file", os.O_WRONLY)
    with pytest.raises(OSError) as caught:
        os.close(descriptor)
    assert caught.value.errno == errno.EIO


def test_what_is_not_written_from_front_to_back_fails_at_once_where_it_was_refused(
    make_there: MakeThere, tmp_path: Path
) -> None:
    """The server shows it at the first: that is told by fsync or close; the next is not accepted any more."""
    there = make_there("writes in order")
    there.mount.expect("could not be written: .*; saved in")
    data = os.urandom(3_000_000)
    (tmp_path / "data").write_bytes(data)
    subprocess.run(["cp", tmp_path / "data", there.here / "first"], check=True, timeout=60)
    assert (there.there / "first").read_bytes() == data
    with opened(there.here / "hole", os.O_CREAT | os.O_WRONLY) as descriptor:
        os.pwrite(descriptor, b"far", 100_000)
        with pytest.raises(OSError) as caught:
            os.fsync(descriptor)
        assert caught.value.errno == errno.EOPNOTSUPP
    contradicted(there, "takes what is written to a file from front to back only")
    with opened(there.here / "second", os.O_CREAT | os.O_WRONLY) as descriptor:
        os.write(descriptor, data)
        for offset in (0, 1000, len(data) + 1):
            with pytest.raises(OSError) as caught:
                os.pwrite(descriptor, b"elsewhere", offset)
            assert caught.value.errno == errno.EOPNOTSUPP
        os.pwrite(descriptor, b"end", len(data))
    assert (there.there / "second").read_bytes() == (there.here / "second").read_bytes() == data + b"end"
    subprocess.run(["cp", tmp_path / "data", there.here / "third"], check=True, timeout=60)
    assert (there.there / "third").read_bytes() == data


def test_one_writer_at_a_time_where_whole_files_are_taken(make_there: MakeThere) -> None:
    """Each would put what it wrote in the place of the other's: the second is not opened."""
    there = make_there("empties as it closes")
    there.mount.expect("as the file is closed|saved in")
    (there.there / "spoiled").write_bytes(b"content")
    with pytest.raises(OSError) as caught, open(there.here / "spoiled", "r+b", buffering=0) as spoiled:
        spoiled.write(b"C")
    assert caught.value.errno == errno.EIO
    contradicted(there, "takes whole new files only")
    with opened(there.here / "file", os.O_CREAT | os.O_WRONLY) as first:
        os.write(first, b"first")
        for flags in (
            os.O_WRONLY | os.O_TRUNC,
            os.O_RDWR | os.O_TRUNC,
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
        ):
            with pytest.raises(OSError) as caught:
                os.open(there.here / "file", flags)
            assert caught.value.errno == errno.EOPNOTSUPP
        os.write(first, b" and more")
    assert (there.there / "file").read_bytes() == b"first and more"
    with opened(there.here / "both", os.O_CREAT | os.O_RDWR) as descriptor:
        os.write(descriptor, b"written")
        assert os.pread(descriptor, 100, 0) == b"written"  # of what has not been sent yet
        os.write(descriptor, b" and more")
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(descriptor, 100, 0) == b"written and more"  # of the server, which ends it there
        with pytest.raises(OSError) as caught:
            os.write(descriptor, b" once more")
        assert caught.value.errno == errno.EOPNOTSUPP
        os.fsync(descriptor)
    assert (there.there / "both").read_bytes() == b"written and more"
    (there.here / "file").write_bytes(b"another")
    assert (there.there / "file").read_bytes() == b"another"


def test_what_a_server_empties_that_is_opened_to_write_alone_is_written_in_part(
    make_there: MakeThere,
) -> None:
    """It is opened to be read, too."""
    there = make_there("empties what it opens to write alone")
    (there.there / "file").write_bytes(b"content" * 10_000)
    with opened(there.here / "file", os.O_WRONLY) as descriptor:
        os.pwrite(descriptor, b"CON", 7)
    with opened(there.here / "file", os.O_RDWR) as descriptor:
        assert os.pread(descriptor, 10, 7) == b"CONtentcon"
        os.pwrite(descriptor, b"END", 69_997)
        os.fsync(descriptor)
        os.pwrite(descriptor, b"X", 0)
    os.truncate(there.here / "file", 70_002)
    with (there.here / "file").open("a") as file:
        file.write("more")
    expected = b"Xontent" + b"CONtent" + (b"content" * 9_998)[:-3] + b"END" + bytes(2) + b"more"
    assert (there.there / "file").read_bytes() == expected
    os.truncate(there.here / "file", 0)
    assert (there.there / "file").read_bytes() == b""


def test_a_server_that_writes_hidden_files_takes_whole_ones_and_appends(make_there: MakeThere) -> None:
    """What is there is opened only by being created; in part it cannot be written, and is left alone."""
    there = make_there("writes hidden files")
    with (there.here / "log").open("ab") as one, (there.here / "log").open("ab") as two:
        for file in (one, two):
            file.write(b"line\n")
            file.flush()
    assert (there.there / "log").read_bytes() == b"line\nline\n"
    for name in ("file", "other"):
        (there.there / name).write_bytes(b"content")
        (there.there / name).chmod(0o600)
    (there.there / "empty").touch()
    (there.here / "file").write_bytes(b"anew")
    assert (there.there / "file").read_bytes() == b"anew"
    assert (there.there / "file").stat().st_mode & 0o777 == 0o600
    with pytest.raises(OSError) as caught:
        os.open(there.here / "other", os.O_WRONLY)
    assert caught.value.errno == errno.EOPNOTSUPP
    contradicted(there, "writes files anew only")
    for name in ("other", "empty"):
        with (there.here / name).open("a") as file:
            file.write(" and more")
    assert (there.there / "other").read_bytes() == b"content and more"
    assert (there.there / "empty").read_bytes() == b" and more"


def test_what_has_no_name_yet_is_changed_by_its_handle_and_busy_by_name(make_there: MakeThere) -> None:
    there = make_there("names as it closes")
    with opened(there.here / "made", os.O_CREAT | os.O_WRONLY) as descriptor:
        os.write(descriptor, b"one")
        os.fchmod(descriptor, 0o604)
        os.utime(descriptor, (5, 6))
        for attempt in (
            lambda: os.unlink(there.here / "made"),
            lambda: os.rename(there.here / "made", there.here / "other"),
            lambda: (there.here / "made").read_bytes(),
        ):
            with pytest.raises(OSError) as caught:
                attempt()
            assert caught.value.errno == errno.EBUSY
        assert "made" in os.listdir(there.here)
        assert (there.here / "made").stat().st_size == 3
        os.write(descriptor, b"two")
    assert os.listdir(there.there) == os.listdir(there.here) == ["made"]
    assert (there.there / "made").read_bytes() == b"onetwo"
    assert (there.there / "made").stat().st_mode & 0o777 == 0o604


def test_a_new_file_that_is_gone_once_it_is_closed_is_an_error(make_there: MakeThere) -> None:
    there = make_there("loses as it closes")
    there.mount.expect("refused what was written as the file was closed|saved in")
    with pytest.raises(OSError) as caught:
        (there.here / "made").write_bytes(b"content")
    assert caught.value.errno == errno.EIO


def test_one_half_of_an_owner_is_not_set_where_the_other_is_not_told(make_there: MakeThere) -> None:
    there = make_there("tells no owners")
    (there.there / "file").touch()
    for ids in ((-1, 5), (5, -1)):
        with pytest.raises(OSError) as caught:
            os.chown(there.here / "file", *ids)
        assert caught.value.errno == errno.EOPNOTSUPP
    os.chown(there.here / "file", 5, 6)
    seen = (there.there / "file").stat()
    assert (seen.st_uid, seen.st_gid) == (5, 6)


def test_what_is_removed_while_it_is_open_for_both_is_read_on(make_there: MakeThere) -> None:
    """By a handle of its own, made before the name goes: a temporary file."""
    there = make_there("none")
    for name in ("removed", "replaced"):
        (there.there / "b").write_bytes(b"another")
        with opened(there.here / name, os.O_CREAT | os.O_RDWR) as descriptor:
            os.write(descriptor, b"content" * 1000)
            if name == "removed":
                (there.here / name).unlink()
            else:
                (there.here / "b").replace(there.here / name)
            os.fsync(descriptor)
            assert os.pread(descriptor, 7, 6993) == b"content"
            os.pwrite(descriptor, b"CON", 0)
            os.fsync(descriptor)
            assert os.pread(descriptor, 7, 0) == b"CONtent"


def test_what_was_written_later_is_read_by_another_handle(make_there: MakeThere) -> None:
    there = make_there("ends where the file did")
    (there.there / "log").write_bytes(b"")
    expected = b""
    with (
        opened(there.here / "log", os.O_WRONLY | os.O_APPEND) as writer,
        opened(there.here / "log", os.O_RDONLY) as reader,
    ):
        for number in range(40):
            os.write(writer, b"%7d" % number * 1000)
            expected += b"%7d" % number * 1000
            if number % 8 == 7:
                os.fsync(writer)
                assert os.pread(reader, len(expected), 0) == expected
                assert os.pread(reader, 100, len(expected)) == b""
