"""What the benchmark reads: the same at every run, and of the promised shape."""

from __future__ import annotations

import statistics
from pathlib import Path

from tests.bench.dataset import (
    BLOCK,
    DEEPEST,
    NEEDLE,
    NEEDLE_EVERY,
    Manifest,
    block,
    is_block,
    make_modules,
    make_tree,
    module_names,
)


def test_tree_has_the_shape_of_a_source_tree(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree", 858, 55)
    paths = list((tmp_path / "tree").rglob("*"))
    files = [path for path in paths if path.is_file()]
    sizes = [path.stat().st_size for path in files]
    assert len(files) == 858
    assert len(paths) - len(files) == 55
    assert max(len(path.relative_to(tmp_path / "tree").parts) for path in files) <= DEEPEST
    assert 12_000_000 < sum(sizes) < 14_000_000
    assert 1_000 < statistics.median(sizes) < 30_000
    assert max(sizes) <= 400_000
    found = sum(NEEDLE in path.read_text() for path in files)
    assert found == len(range(0, 858, NEEDLE_EVERY))


def test_tree_is_the_same_every_time(tmp_path: Path) -> None:
    make_tree(tmp_path / "one", 40, 7)
    make_tree(tmp_path / "two", 40, 7)
    one, two = Manifest.of(tmp_path / "one"), Manifest.of(tmp_path / "two")
    assert one
    assert one.differences(two) == ""


def test_manifest_sees_every_difference(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree", 5, 2)
    before = Manifest.of(tmp_path / "tree", modes=True, times=True)
    changed = next(path for path in (tmp_path / "tree").rglob("*") if path.is_file())
    changed.chmod(0o700)
    assert "1 of 7" in before.differences(Manifest.of(tmp_path / "tree", modes=True, times=True))
    changed.unlink()
    assert str(changed.relative_to(tmp_path / "tree")) in before.differences(Manifest.of(tmp_path / "tree"))


def test_blocks_are_told_apart() -> None:
    assert len(block(3)) == BLOCK
    assert is_block(block(3), 3)
    assert not is_block(block(3), 4)
    assert not is_block(block(3)[:-1], 3)
    assert not is_block(block(3)[:-1] + b"\0", 3)


def test_modules_are_as_many_as_named(tmp_path: Path) -> None:
    make_modules(tmp_path, 24)
    names = module_names(24)
    assert len(set(names)) == 24
    assert len(list(tmp_path.rglob("*.py"))) == 24
    assert names[:2] == ["package0", "package0.module01"]
