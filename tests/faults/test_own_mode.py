"""A file whose mode keeps its own owner out, as that of git's objects does, and its connection lost."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy
from tests.harness.kernel import fails_with
from tests.harness.mounts import Mount
from tests.harness.outage import LOSS, works

pytestmark = pytest.mark.limit(120)

BOUND = "-dac_override,-dac_read_search,-fowner"
"""Root as a user would be: modes count."""


@pytest.fixture
def proxy() -> Iterator[CountingProxy]:
    wrapped = ("setpriv", "--bounding-set", BOUND, "--inh-caps", BOUND)
    with CountingProxy(latency=0.0, wrapped=wrapped) as running:
        yield running


@pytest.fixture
def mount(proxy: CountingProxy, make_mount: MakeMount, backing: Path) -> Mount:
    mount = make_mount("dir_cache=no", port=proxy.port, backing=backing)
    mount.expect(LOSS)
    return mount


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("asked", [0o444, 0o400, 0])
def test_it_is_written_to_its_end(proxy: CountingProxy, mount: Mount, asked: int) -> None:
    fd = os.open(mount.path / "object", os.O_CREAT | os.O_EXCL | os.O_RDWR, asked)
    try:
        os.write(fd, b"first ")
        os.fsync(fd)
        proxy.cut_at("WRITE", carried_out=False)
        os.write(fd, b"second")
        os.fsync(fd)
        assert os.pread(fd, 20, 0) == b"first second"
    finally:
        os.close(fd)
    assert proxy.cuts_left() == 0
    assert (mount.backing / "object").read_bytes() == b"first second"
    assert mode(mount.backing / "object") == mode(mount.path / "object") == asked
    works(mount)


def test_it_is_made_once(proxy: CountingProxy, mount: Mount) -> None:
    proxy.cut_at("OPEN", carried_out=True)
    fd = os.open(mount.path / "object", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444)
    try:
        assert proxy.cuts_left() == 0
        os.write(fd, b"content")
    finally:
        os.close(fd)
    assert (mount.backing / "object").read_bytes() == b"content"
    assert mode(mount.backing / "object") == mode(mount.path / "object") == 0o444


@pytest.mark.parametrize("lost", ["SETSTAT", "FSETSTAT"])
def test_it_has_its_mode_where_the_connection_is_lost_again(
    proxy: CountingProxy, mount: Mount, lost: str
) -> None:
    """While the file has the bits that were lent."""
    fd = os.open(mount.path / "object", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444)
    try:
        proxy.cut_at("WRITE", carried_out=False)
        proxy.cut_at(lost, carried_out=lost == "SETSTAT")
        os.write(fd, b"content")
        os.fsync(fd)
    finally:
        os.close(fd)
    assert proxy.cuts_left() == 0
    assert (mount.backing / "object").read_bytes() == b"content"
    assert mode(mount.backing / "object") == 0o444


@pytest.mark.parametrize("there", [False, True], ids=["made here", "there before"])
def test_a_mode_that_another_client_set_counts(proxy: CountingProxy, mount: Mount, there: bool) -> None:
    """The bits are lent to the mode the file has, and it has that one again."""
    if there:
        (mount.backing / "object").touch()
    fd = os.open(mount.path / "object", os.O_WRONLY | (0 if there else os.O_CREAT | os.O_EXCL), 0o644)
    try:
        os.write(fd, b"first ")
        os.fsync(fd)
        (mount.backing / "object").chmod(0o440)
        proxy.cut()
        os.write(fd, b"second")
    finally:
        os.close(fd)
    assert (mount.backing / "object").read_bytes() == b"first second"
    assert mode(mount.backing / "object") == 0o440


def test_one_of_somebody_else_is_left_alone(proxy: CountingProxy, mount: Mount) -> None:
    """Not ours to change: what was accepted is told to be lost."""
    mount.expect("could not be written|" + LOSS)
    (mount.backing / "object").write_bytes(b"theirs")
    fd = os.open(mount.path / "object", os.O_WRONLY)
    try:
        os.write(fd, b"ours")
        (mount.backing / "object").chmod(0o440)
        os.chown(mount.backing / "object", 65534, 65534)
        proxy.cut_at("WRITE", carried_out=False)
        with fails_with(errno.EACCES):
            os.fsync(fd)
    finally:
        os.close(fd)
    assert (mount.backing / "object").read_bytes() == b"theirs"
    assert mode(mount.backing / "object") == 0o440
