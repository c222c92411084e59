"""Truncation, by path and by descriptor."""

from __future__ import annotations

import errno
import os
import random

import pytest

from tests.conftest import Place
from tests.harness.kernel import fails_with, opened, read_all


def pattern(size: int, seed: int = 1) -> bytes:
    """Bytes that repeat nowhere."""
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 1000, 5000, 200_000])
def test_truncate_by_path(place: Place, size: int) -> None:
    data = pattern(5000)
    (place.here / "f").write_bytes(data)
    os.truncate(place.here / "f", size)
    expected = data[:size].ljust(size, b"\0")
    assert os.stat(place.here / "f").st_size == size
    assert (place.here / "f").read_bytes() == expected
    assert (place.there / "f").read_bytes() == expected


@pytest.mark.parametrize("size", [0, 1, 1000, 5000, 200_000])
def test_truncate_by_descriptor(place: Place, size: int) -> None:
    data = pattern(5000)
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, data)
        os.ftruncate(fd, size)
        expected = data[:size].ljust(size, b"\0")
        assert os.fstat(fd).st_size == size
        assert read_all(fd) == expected
    assert (place.there / "f").read_bytes() == expected


def test_truncate_to_less_and_then_more_reads_zeros(place: Place) -> None:
    (place.here / "f").write_bytes(b"x" * 10_000)
    with opened(place.here / "f", os.O_RDWR) as fd:
        assert os.pread(fd, 10, 9000) == b"x" * 10
        os.ftruncate(fd, 100)
        os.ftruncate(fd, 10_000)
        assert read_all(fd) == b"x" * 100 + bytes(9900)
    assert (place.there / "f").read_bytes() == b"x" * 100 + bytes(9900)


def test_truncate_by_path_is_seen_by_an_open_handle(place: Place) -> None:
    (place.here / "f").write_bytes(b"x" * 5000)
    with opened(place.here / "f", os.O_RDWR) as fd:
        os.pwrite(fd, b"y" * 10, 4000)
        os.truncate(place.here / "f", 4005)
        assert os.fstat(fd).st_size == 4005
        assert os.pread(fd, 100, 3999) == b"xyyyyy"
    assert (place.there / "f").read_bytes() == b"x" * 4000 + b"y" * 5


def test_write_after_truncate_to_nothing(place: Place) -> None:
    with opened(place.here / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, b"first version, longer")
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"second", 0)
    assert (place.there / "f").read_bytes() == b"second"


def test_truncate_of_a_directory_is_eisdir(place: Place) -> None:
    os.mkdir(place.here / "d")
    with fails_with(errno.EISDIR):
        os.truncate(place.here / "d", 0)
