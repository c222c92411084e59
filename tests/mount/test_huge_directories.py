"""Directories of so many names that they are shown while they come."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sftpfs.remote.operations.list_directory import FIRST_SHOWN, SHOWN_TOGETHER
from tests.conftest import MakeMount
from tests.harness.counting import LATENCY, CountingProxy
from tests.harness.kernel import fails_with
from tests.harness.mounts import Mount

MANY = 20_000
HUGE = 1_000_000
FIRST_REPLIES = 4
"""READDIRs that are sent together; OpenSSH's server answers each with 100 names."""


def fill(directory: Path, count: int) -> set[str]:
    """Make so many files."""
    directory.mkdir()
    names = {f"file {number:07}" for number in range(count)}
    for name in names:
        os.mknod(directory / name)
    return names


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A directory on the server that nobody changes, and its names."""
    backing = tmp_path_factory.mktemp("many")
    return backing, fill(backing / "d", MANY)


@pytest.fixture(scope="module")
def server() -> Iterator[CountingProxy]:
    with CountingProxy(latency=0.0) as running:
        yield running


@pytest.fixture
def mount(server: CountingProxy, make_mount: MakeMount, many: tuple[Path, set[str]]) -> Iterator[Mount]:
    made = make_mount(backing=many[0], port=server.port)
    os.stat(made.path / "d")
    server.reset()
    yield made
    server.heal()
    server.set_latency(0.0)
    server.deliver_replies()


def test_the_first_names_come_after_one_wait(
    mount: Mount, server: CountingProxy, many: tuple[Path, set[str]]
) -> None:
    """And are shown to every reader of the one listing. (Two waits if no handle can be predicted.)"""
    server.set_latency(LATENCY)
    server.hold_replies("READDIR", skip=FIRST_REPLIES)
    with os.scandir(mount.path / "d") as entries, os.scandir(mount.path / "d") as others:
        first = [next(entries).name for _ in range(FIRST_SHOWN)]
        too = [next(others).name for _ in range(FIRST_SHOWN)]
        assert server.read().waits <= 2, server.read().trace
        server.set_latency(0.0)
        server.deliver_replies()
        rest, also = [entry.name for entry in entries], [entry.name for entry in others]
    assert len(first) + len(rest) == len(too) + len(also) == MANY
    assert {*first, *rest} == {*too, *also} == many[1]
    counted = server.read()
    assert counted.requests["OPENDIR"] == 1
    assert not counted.requests.get("LSTAT", 0), "what a name leads to comes with it"


def test_a_connection_lost_between_two_parts(
    mount: Mount, server: CountingProxy, many: tuple[Path, set[str]]
) -> None:
    """No name is left out, and none is shown twice."""
    mount.expect("the connection to the server is lost|the connection is back after")
    server.hold_replies("READDIR", skip=FIRST_REPLIES)
    with os.scandir(mount.path / "d") as entries:
        names = [next(entries).name for _ in range(FIRST_SHOWN)]
        server.cut()
        server.deliver_replies()
        names += [entry.name for entry in entries]
    assert len(names) == MANY and set(names) == many[1]


def test_an_error_between_two_parts_is_no_end(
    mount: Mount, server: CountingProxy, many: tuple[Path, set[str]]
) -> None:
    server.spoil("READDIR", "failure", skip=10, times=1)
    with os.scandir(mount.path / "d") as entries:
        names = [next(entries).name for _ in range(FIRST_SHOWN)]
        with fails_with(errno.EIO):
            names += [entry.name for entry in entries]
    assert server.heal() == 1
    assert sorted(os.listdir(mount.path / "d")) == sorted(many[1])


def test_a_place_in_a_listing_is_found_again(
    mount: Mount, server: CountingProxy, many: tuple[Path, set[str]], telldir: Path
) -> None:
    """telldir, seekdir and rewinddir while further names are held back, and behind them."""
    done = subprocess.run([telldir, mount.path / "d"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"{MANY}\n"), done.stderr


@pytest.fixture(scope="module")
def telldir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that goes back to places it was told, and counts names."""
    place = tmp_path_factory.mktemp("telldir")
    source = place / "t.c"
    source.write_text(r"""
#include <dirent.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    DIR *d = opendir(argv[1]);
    long at[64]; char names[64][256]; int places = 0, count = 0;
    struct dirent *e;
    for (int i = 0; ; i++) {
        long here = telldir(d);
        if (!(e = readdir(d))) break;
        if (i % 500 == 150 && places < 64) {
            at[places] = here;
            strcpy(names[places++], e->d_name);
            seekdir(d, at[places / 2]);
            e = readdir(d);
            if (!e || strcmp(e->d_name, names[places / 2])) return 1;
            seekdir(d, here);
            e = readdir(d);
            if (!e || strcmp(e->d_name, names[places - 1])) return 2;
        }
    }
    rewinddir(d);
    while ((e = readdir(d))) count += e->d_name[0] != '.';
    printf("%d\n", count);
    return 0;
}
""")
    subprocess.run(["cc", "-o", place / "t", source], check=True, timeout=60)
    return place / "t"


def removing(directory: Path) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            os.unlink(entry.path)


def renaming(directory: Path) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.startswith("new"):
                os.rename(entry.path, directory / f"new {entry.name}")


@pytest.mark.parametrize("work", [removing, renaming])
def test_changes_while_it_comes_skip_nothing(
    work: Callable[[Path], None], server: CountingProxy, make_mount: MakeMount, tmp_path: Path
) -> None:
    backing = tmp_path / "server"
    backing.mkdir()
    names = fill(backing / "d", SHOWN_TOGETHER + 600)
    mount = make_mount(backing=backing, port=server.port)
    work(mount.path / "d")
    left = set() if work is removing else {f"new {name}" for name in names}
    assert set(os.listdir(backing / "d")) == left
    assert set(os.listdir(mount.path / "d")) == left


def test_a_directory_made_unreadable_between_two_parts(make_mount: MakeMount, tmp_path: Path) -> None:
    """The server leaves out what it may not look at; the listing is none the shorter for it. The server is
    root without the right to pass over modes, as a user's would be."""
    capabilities = "-dac_override,-dac_read_search"
    backing = tmp_path / "server"
    backing.mkdir()
    names = fill(backing / "d", SHOWN_TOGETHER * 4)
    wrapped = ("setpriv", "--bounding-set", capabilities, "--inh-caps", capabilities)
    with CountingProxy(latency=0.0, wrapped=wrapped) as server:
        mount = make_mount(backing=backing, port=server.port)
        server.hold_replies("READDIR", skip=FIRST_REPLIES)
        with os.scandir(mount.path / "d") as entries:
            found = {next(entries).name for _ in range(FIRST_SHOWN)}
            os.chmod(backing / "d", 0)
            server.deliver_replies()
            with fails_with(errno.EACCES):
                found |= {entry.name for entry in entries}
        assert found < names
        os.chmod(backing / "d", 0o755)
        assert set(os.listdir(mount.path / "d")) == names


@pytest.mark.long
@pytest.mark.limit(3600)
def test_a_directory_of_a_million_is_listed_and_removed(make_mount: MakeMount, backing: Path) -> None:
    names = fill(backing / "d", HUGE)
    mount = make_mount(backing=backing)
    with os.scandir(mount.path / "d") as entries:
        listed = [entry.name for entry in entries]
    assert len(listed) == HUGE and set(listed) == names
    subprocess.run(["rm", "-rf", mount.path / "d"], check=True, timeout=3000)
    assert not (backing / "d").exists()
