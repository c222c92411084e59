"""Directories of many names, read while names in them come, go and lead elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from tests.conftest import MakeMount

MORE_THAN_ONE_REPLY = 5000
LONG = "-a-name-of-some-length" * 5


def test_no_name_is_missed_that_is_replaced_while_its_directory_is_read(
    make_mount: MakeMount, backing: Path
) -> None:
    names = {f"{number:05}{LONG}" for number in range(MORE_THAN_ONE_REPLY)}
    for name in names:
        (backing / name).touch()
    mount = make_mount(backing=backing)
    with os.scandir(mount.path) as reader:
        found = [next(reader).name]
        for name in sorted(names)[::10]:
            (mount.path / ".new").touch()
            os.replace(mount.path / ".new", mount.path / name)
        found += [entry.name for entry in reader]
    assert len(found) == len(set(found))
    assert set(found) == names


def test_names_at_the_bound_are_all_listed_to_two_readers(make_mount: MakeMount, backing: Path) -> None:
    """Each reader's directory is more than may be kept, and both are open at the same time."""
    for directory in ("a", "b"):
        (backing / directory).mkdir()
        for number in range(1500):
            (backing / directory / f"{number:05}{LONG}").touch()
    expected = sorted(os.listdir(backing / "a"))
    mount = make_mount("dcache_max_size=1000", "dcache_timeout=1", backing=backing)
    for _ in range(3):
        with os.scandir(mount.path / "a") as one, os.scandir(mount.path / "b") as other:
            first, second = [next(one).name], [next(other).name]
            (mount.backing / "a" / ".new").touch()
            assert sorted(os.listdir(mount.path / "b")) == expected
            first += [entry.name for entry in one]
            second += [entry.name for entry in other]
        assert sorted(set(first) - {".new"}) == sorted(second) == expected
