"""``modules=iconv``: names that are in another character set on the server."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.command import say
from tests.harness.counting import CountingProxy
from tests.harness.kernel import fails_with, opened
from tests.harness.mounts import Mount
from tests.harness.outage import LOSS
from tests.semantics.statements import states
from tests.sshd import Sshd

DECOMPOSED = "e\u0301"

SERVERS: list[tuple[str, str, dict[bytes, str]]] = [
    ("latin1", "UTF-8", {"café".encode("latin1"): "café", b"\xe9": "é", b"a%20b": "a%20b"}),
    ("shift_jis", "UTF-8", {"日本語の表".encode("shift_jis"): "日本語の表", b"\x83\xff%": "%83%FF%25"}),
    (
        "UTF-8-MAC",
        "UTF-8",
        {f"caf{DECOMPOSED}".encode(): "café", "café".encode(): f"caf{DECOMPOSED}", b"caf\xe9": "caf%E9"},
    ),
    ("UTF-8", "ascii", {"café".encode(): "caf%C3%A9", b"caf%C3%A9": "caf%25C3%25A9", b"50%": "50%"}),
]
"""from_code, to_code, and names: the server's and here."""


@pytest.fixture(params=SERVERS, ids=[f"{there}-{here}" for there, here, _ in SERVERS])
def named(
    request: pytest.FixtureRequest, make_mount: MakeMount, backing: Path
) -> Iterator[tuple[Mount, dict[bytes, str]]]:
    """A mount, and what is in its root: a file of each name, which holds it, in a directory of that name."""
    there, here, names = request.param
    for name in names:
        directory = os.path.join(os.fsencode(backing), name)
        os.mkdir(directory)
        Path(os.fsdecode(os.path.join(directory, name))).write_bytes(name)
    yield make_mount(f"modules=iconv,from_code={there},to_code={here}", backing=backing), names


def kept(mount: Mount) -> set[bytes]:
    """Everything below the root, as the server has it."""
    root = os.fsencode(mount.backing)
    return {
        os.path.relpath(os.path.join(top, name), root)
        for top, directories, files in os.walk(root)
        for name in directories + files
    }


@states("I1", "Each name of the server's has one name here, and no two have the same.")
def test_every_name_is_shown_once_and_leads_to_its_file(named: tuple[Mount, dict[bytes, str]]) -> None:
    mount, names = named
    assert sorted(os.listdir(mount.path)) == sorted(names.values())
    for name, shown in names.items():
        directory = mount.path / shown
        assert os.listdir(directory) == [shown]
        assert (directory / shown).read_bytes() == name


@states(
    "I2",
    "What is done here by a name is done to its name on the server, and ASCII is the same on both sides.",
)
def test_names_are_made_renamed_linked_and_removed_as_there(named: tuple[Mount, dict[bytes, str]]) -> None:
    mount, names = named
    before = kept(mount)
    for name, shown in names.items():
        directory, there = mount.path / shown, name + b"/"
        (directory / shown).rename(directory / "plain")
        assert kept(mount) == before - {there + name} | {there + b"plain"}
        os.link(directory / "plain", directory / shown)
        (directory / "plain").unlink()
        assert kept(mount) == before
        with opened(directory / shown, os.O_WRONLY | os.O_APPEND) as fd:
            os.write(fd, b" more")
            (directory / shown).rename(mount.path / f"new-{shown}")
            os.write(fd, b" and more")
        assert (mount.path / f"new-{shown}").read_bytes() == name + b" more and more"
        assert kept(mount) == before - {there + name} | {b"new-" + name}
        (mount.path / f"new-{shown}").unlink()
        directory.rmdir()
        before -= {name, there + name}
        assert kept(mount) == before
        os.mkdir(mount.path / shown)
        os.mkdir(mount.path / shown / shown)
        assert kept(mount) == before | {name, there + name}
        os.rmdir(mount.path / shown / shown)
        os.rmdir(mount.path / shown)


@states(
    "I3",
    "A name without a counterpart in `to_code` is shown escaped: %XX for each byte of it that is no "
    "printable ASCII, and for each percent sign.",
)
def test_what_cannot_be_converted_is_shown_and_used(make_mount: MakeMount, backing: Path) -> None:
    """sshfs leaves these names out."""
    root = os.fsencode(backing)
    for name in (b"100%\xff", "表".encode(), b"plain"):
        Path(os.fsdecode(os.path.join(root, name))).write_bytes(name)
    mount = make_mount("modules=iconv,to_code=latin1", backing=backing)
    path = os.fsencode(mount.path)
    assert sorted(os.listdir(path)) == [b"%E8%A1%A8", b"100%25%FF", b"plain"]
    assert (mount.path / "100%25%FF").read_bytes() == b"100%\xff"
    os.rename(os.path.join(path, b"%E8%A1%A8"), os.path.join(path, b"caf\xe9%FE"))
    assert sorted(os.listdir(root)) == [b"100%\xff", "café%FE".encode(), b"plain"]
    assert sorted(os.listdir(path)) == [b"100%25%FF", b"caf\xe9%FE", b"plain"]


@states(
    "I4", "A name that would read as an escape is escaped itself, so that it cannot be taken for another."
)
def test_a_name_that_reads_as_an_escape(make_mount: MakeMount, backing: Path) -> None:
    root = os.fsencode(backing)
    for name in (b"caf\xe9", b"caf%E9", b"caf%25E9", b"a%20b"):
        Path(os.fsdecode(os.path.join(root, name))).write_bytes(name)
    mount = make_mount("modules=iconv", backing=backing)
    shown = {"caf%E9": b"caf\xe9", "caf%25E9": b"caf%E9", "caf%2525E9": b"caf%25E9", "a%20b": b"a%20b"}
    assert sorted(os.listdir(mount.path)) == sorted(shown)
    for name, content in shown.items():
        assert (mount.path / name).read_bytes() == content
        (mount.path / name).unlink()
    assert os.listdir(root) == []


@states("I5", "A name that cannot be on the server is `ENOENT` when looked for, and `EILSEQ` when made.")
def test_names_that_cannot_be_there(make_mount: MakeMount, backing: Path) -> None:
    (backing / "file").touch()
    mount = make_mount("modules=iconv,from_code=latin1,to_code=UTF-8", backing=backing)
    for name in ("表", os.fsdecode(b"caf\xe9")):
        path = mount.path / name
        for look in (os.lstat, os.open, os.unlink, os.rmdir, os.listdir):
            with fails_with(errno.ENOENT):
                look(path, os.O_RDONLY) if look is os.open else look(path)  # type: ignore[operator]
        for make in (
            lambda path=path: os.open(path, os.O_CREAT | os.O_WRONLY, 0o600),
            lambda path=path: os.mkdir(path),
            lambda path=path: os.symlink("file", path),
            lambda path=path: os.symlink(path.name, mount.path / "link"),
            lambda path=path: os.link(mount.path / "file", path),
            lambda path=path: os.rename(mount.path / "file", path),
        ):
            with fails_with(errno.EILSEQ):
                make()
    assert os.listdir(mount.path) == os.listdir(backing) == ["file"]


@states(
    "I6",
    "The target of a symbolic link is converted name by name, so that it leads to the same file here"
    " as there.",
)
def test_links_lead_where_they_do_on_the_server(named: tuple[Mount, dict[bytes, str]]) -> None:
    mount, names = named
    root = os.fsencode(mount.backing)
    for name in names:
        os.symlink(b"../" + name + b"/" + name, os.path.join(root, name, b"relative"))
        os.symlink(root + b"/" + name + b"//" + name, os.path.join(root, name, b"absolute"))
    for name, shown in names.items():
        directory = mount.path / shown
        os.symlink(f"../{shown}/{shown}", directory / "made")
        assert os.readlink(directory / "relative") == f"../{shown}/{shown}"
        for link in (directory / "relative", directory / "absolute", directory / "made"):
            assert link.read_bytes() == name
        assert os.readlink(os.path.join(root, name, b"made")) == b"../" + name + b"/" + name


@states("I7", "If the locale names none but ASCII, UTF-8 is taken.")
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_without_to_code_the_locale_tells(make_mount: MakeMount, backing: Path, locale: str) -> None:
    Path(os.fsdecode(os.path.join(os.fsencode(backing), b"\xe9"))).touch()
    environment = {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0"}
    mount = make_mount("modules=iconv,from_code=latin1", backing=backing, environment=environment)
    assert os.listdir(os.fsencode(mount.path)) == ["é".encode()]


def test_the_directory_of_the_command_is_the_servers_own_name(make_mount: MakeMount, backing: Path) -> None:
    """As with sshfs; and links to absolute targets in it are inside."""
    directory = backing / "bücher"
    (directory / "x").mkdir(parents=True)
    os.symlink(os.fsencode(directory) + b"/\xe9", directory / "x" / "link")
    Path(os.fsdecode(os.fsencode(directory) + b"/\xe9")).write_bytes(b"here")
    mount = make_mount("modules=iconv,from_code=latin1,to_code=UTF-8", backing=directory)
    assert sorted(os.listdir(mount.path)) == ["x", "é"]
    assert (mount.path / "x" / "link").read_bytes() == b"here"
    status = say("status", mount.path)
    assert status.status == 0, status.stderr


def test_open_files_outlive_the_connection(make_mount: MakeMount, backing: Path, tmp_path: Path) -> None:
    """They are opened again by the server's name, renamed in the meantime or not."""
    for name in (b"\xe9", b"\xe8"):
        Path(os.fsdecode(os.path.join(os.fsencode(backing), name))).write_bytes(name * 1000)
    with Sshd(tmp_path / "own-sshd") as server:
        mount = make_mount("modules=iconv,from_code=latin1,to_code=UTF-8", backing=backing, server=server)
        mount.expect(LOSS)
        with (
            opened(mount.path / "é", os.O_RDWR | os.O_DIRECT) as stays,
            opened(mount.path / "è", os.O_RDWR | os.O_DIRECT) as moves,
        ):
            server.drop_connections()
            (mount.path / "è").rename(mount.path / "ê")
            assert os.read(moves, 10) == b"\xe8" * 10
            assert os.read(stays, 10) == b"\xe9" * 10
            os.write(moves, b"new")
            os.write(stays, b"new")
        assert (mount.backing / os.fsdecode(b"\xea")).read_bytes() == b"\xe8" * 10 + b"new" + b"\xe8" * 987
        assert (mount.backing / os.fsdecode(b"\xe9")).read_bytes() == b"\xe9" * 10 + b"new" + b"\xe9" * 987
        mount.close()


def test_commands_take_names_as_they_are_here(make_mount: MakeMount, backing: Path) -> None:
    there = os.fsencode(backing)
    Path(os.fsdecode(os.path.join(there, b"\xe9"))).write_bytes(b"content")
    mount = make_mount("modules=iconv,from_code=latin1,to_code=UTF-8,dcache_timeout=600", backing=backing)
    assert os.listdir(mount.path) == ["é"]
    assert say("cp", mount.path / "é", mount.path / "ü").status == 0
    assert sorted(os.listdir(there)) == [b"\xe9", b"\xfc"]
    os.rename(os.path.join(there, b"\xfc"), os.path.join(there, b"\xf6"))
    assert say("refresh", mount.path).status == 0
    assert sorted(os.listdir(mount.path)) == ["é", "ö"]
    assert (mount.path / "ö").read_bytes() == b"content"


def test_names_longer_here_than_there(make_mount: MakeMount, backing: Path) -> None:
    name = b"\xe9" * 255
    Path(os.fsdecode(os.path.join(os.fsencode(backing), name))).touch()
    mount = make_mount("modules=iconv,from_code=latin1,to_code=UTF-8", backing=backing)
    assert os.listdir(mount.path) == ["é" * 255]
    os.rename(mount.path / ("é" * 255), mount.path / ("è" * 255))
    assert os.listdir(os.fsencode(backing)) == [b"\xe8" * 255]
    with fails_with(errno.ENAMETOOLONG):
        os.mkdir(mount.path / ("é" * 256))


def test_programs_work_in_it(make_mount: MakeMount, backing: Path) -> None:
    """A tree goes through an archive and back, and git keeps one, whatever its names are on the server."""
    mount = make_mount("modules=iconv,from_code=shift_jis,to_code=UTF-8", backing=backing)
    script = """
        set -e
        mkdir 日本 && cd 日本 && echo 1 > 表 && echo 2 > ソ && ln -s 表 能
        tar cf ../a.tar . && mkdir ../copy && tar xf ../a.tar -C ../copy && diff -r . ../copy
        git init -q . && git add . && git -c user.name=a -c user.email=a@b commit -qm x
        test -z "$(git status --porcelain)"
        rm -r ../copy ../日本
    """
    done = subprocess.run(
        ["bash", "-c", script], cwd=mount.path, timeout=60, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert os.listdir(backing) == ["a.tar"]


def test_it_costs_no_request(make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path) -> None:
    """Names and content take as many requests with the option as without it, and no other kind of request."""
    counting_proxy.set_latency(0)
    counts = []
    for number, options in enumerate([(), ("modules=iconv,from_code=latin1,to_code=UTF-8",)]):
        directory = backing / str(number)
        directory.mkdir()
        mount = make_mount(*options, backing=directory, port=counting_proxy.port)
        counting_proxy.reset()
        (mount.path / "dir").mkdir()
        for name in ("é", "ü"):
            (mount.path / "dir" / name).write_text(name)
        os.rename(mount.path / "dir" / "é", mount.path / "dir" / "ü")
        assert (mount.path / "dir" / "ü").read_text() == "é"
        os.unlink(mount.path / "dir" / "ü")
        counts.append(dict(counting_proxy.read().requests))
        mount.close()
    # How often attributes and listings are asked for depends on how much time passes between two steps.
    assert counts[0].keys() ^ counts[1].keys() <= {"OPENDIR", "READDIR"}
    for kind in ("MKDIR", "OPEN", "WRITE", "posix-rename@openssh.com", "READ", "REMOVE"):
        assert counts[0][kind] == counts[1][kind], (kind, counts)
