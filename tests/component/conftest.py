"""Fixtures of tests over real servers without a mount."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory on the server, with a file and an empty directory."""
    directory = tmp_path / "tree"
    directory.mkdir()
    (directory / "file").write_bytes(b"content")
    (directory / "empty").mkdir()
    return directory
