"""Servers of other systems: names longer than Linux's own, and a directory in one packet."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.helper_process import HelperProcess
from tests.harness.kernel import fails_with
from tests.harness.mounts import Mount

FILES = 3000
LENGTH = 300
PADDING = LENGTH - len("file-0000000.txt")


@pytest.fixture
def mount(make_mount: MakeMount, tmp_path: Path) -> Iterator[Mount]:
    """A NAME of a megabyte and a half, six times what OpenSSH's longest packet is."""
    words = ("1", str(FILES), str(FILES), str(PADDING))
    server = HelperProcess("tests.harness.wide_server", *words)
    try:
        made = make_mount("ro", backing=Path("/"), port=server.port)
        made.expect("has names of more than 255 bytes")
        yield made
        made.close()
    finally:
        server.close()


def test_names_of_more_than_255_bytes_are_shown_and_used(mount: Mount) -> None:
    directory = mount.path / "dir-0000000"
    names = sorted(os.listdir(directory))
    assert len(names) == FILES and {len(name) for name in names} == {LENGTH}
    assert os.lstat(directory / names[1234]).st_size == 1234
    assert sum(os.lstat(directory / name).st_size for name in names) == sum(range(FILES))
    with fails_with(errno.ENOENT):
        os.lstat(directory / ("n" * 400))
    with fails_with(errno.ENAMETOOLONG):
        os.lstat(directory / ("n" * 1025))
    assert mount.log().count("has names of more than 255 bytes") == 1
