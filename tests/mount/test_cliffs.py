"""Requests that must not multiply: counted over one connection by tests/harness/counting.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import MakeMount
from tests.harness.counting import CountingProxy

NAMES = 100
DIRECTORIES = 60


@pytest.mark.parametrize("option", ["cache=no", "dcache_dir_timeout=0"])
@pytest.mark.parametrize("names", [20, 300])
def test_where_no_listing_is_believed_none_is_made_unasked(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path, option: str, names: int
) -> None:
    for inner in (backing / "d", backing / "d" / "e"):
        inner.mkdir()
        for number in range(names):
            (inner / f"{number}").touch()
    mount = make_mount(option, "max_conns=1", backing=backing, port=counting_proxy.port)
    counting_proxy.reset()
    for number in range(20):
        os.stat(mount.path / "d" / f"{number}")
        os.stat(mount.path / "d" / "e" / f"{number}")
        assert not os.path.exists(mount.path / "d" / f"no {number}")
    counted = counting_proxy.read().requests
    assert "OPENDIR" not in counted and "READDIR" not in counted


@pytest.mark.parametrize("reading", [False, True], ids=["names", "content"])
def test_a_walk_over_more_names_than_are_kept_lists_each_directory_once(
    make_mount: MakeMount, counting_proxy: CountingProxy, backing: Path, reading: bool
) -> None:
    bound = DIRECTORIES * NAMES // 4
    for number in range(DIRECTORIES):
        (backing / f"{number:03}").mkdir()
        for name in range(NAMES):
            (backing / f"{number:03}" / f"{name}").write_text("x" if name == 0 else "")
    mount = make_mount(f"dcache_max_size={bound}", "max_conns=1", backing=backing, port=counting_proxy.port)
    counting_proxy.reset()
    found = 0
    for directory, _, files in os.walk(mount.path):
        found += len(files)
        if reading and files:
            assert (Path(directory) / "0").read_text() == "x"
    assert found == DIRECTORIES * NAMES
    assert counting_proxy.read().requests["OPENDIR"] <= DIRECTORIES + 1
