"""fio writes blocks with checksums, reads them back and compares; needs fio installed."""

from __future__ import annotations

import os

import pytest

from tests.conftest import Place
from tests.harness.programs import run

pytestmark = [pytest.mark.long, pytest.mark.limit(600)]

BUFFERED = ("--bsrange=512-64k", "--blockalign=512", "--size=128m")
DIRECT = ("--direct=1", "--bs=16k", "--size=64m")
SMALL = ("--bs=4k", "--size=32m")

WAYS: dict[str, tuple[str, ...]] = {
    "psync": ("--ioengine=psync", *BUFFERED),
    "mmap": ("--ioengine=mmap", *BUFFERED),
    "libaio": ("--ioengine=libaio", "--iodepth=16", *BUFFERED),
    "direct psync": ("--ioengine=psync", *DIRECT),
    "direct libaio": ("--ioengine=libaio", "--iodepth=16", *DIRECT),
    "four at once": (
        "--ioengine=libaio",
        "--iodepth=16",
        "--numjobs=4",
        "--fsync=32",
        "--bs=4k",
        "--size=32m",
    ),
}
"""Engines and what goes with them."""

ORDERS = ("write", "rw", "randwrite", "randrw")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_every_block_is_what_was_written(place: Place, way: str, order: str) -> None:
    words = ("--name=job", "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--minimal")
    run("fio", f"--directory={place.here}", f"--rw={order}", *words, *WAYS[way])
    jobs = 4 if "--numjobs=4" in WAYS[way] else 1
    assert len(os.listdir(place.there)) == jobs
    # The server's own bytes, read without the mount.
    run("fio", f"--directory={place.there}", f"--rw={order}", "--verify_only", *words, *WAYS[way])
