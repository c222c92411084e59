"""A clock that is set back must not make a deadline or a lease longer: these keep to the monotonic clock."""

from __future__ import annotations

import ast
from pathlib import Path

import sftpfs

ROOT = Path(sftpfs.__file__).parent

ROOMS = ("aio.py", "data", "remote", "sftp", "transport", "vfs")
"""What has deadlines and leases."""

WALL_CLOCK = {
    "data/content.py": "how long data lingers, as a distance either way",
    "data/riding.py": "the same",
    "data/state.py": "when bytes were fetched, beside the server's mtime",
    "data/writer.py": "the mtime shown while dirty, and how long data lingers, as a distance either way",
    "remote/server.py": "whether what is found is older than our request, beside the server's mtime",
    "vfs/ahead.py": "when a file was fetched, beside the server's mtime",
    "vfs/answers.py": "ctime, and how far the server's clock is from ours",
    "vfs/files.py": "when a file was opened, beside the server's mtime",
    "vfs/filesystem.py": "how far the server's clock is from ours",
    "vfs/inventory.py": "ctime",
    "vfs/listings.py": "when a listing was asked for, beside the server's mtime",
    "vfs/tree.py": "mtime of a directory we changed, and how far the server's clock is from ours",
}
"""Where the time of day is asked for, and what for."""


def test_the_time_of_day_is_asked_for_nothing_else() -> None:
    users = set()
    for path in ROOT.rglob("*.py"):
        if path.relative_to(ROOT).parts[0] not in ROOMS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            wall = isinstance(node, ast.Attribute) and node.attr in ("time", "time_ns")
            if wall and isinstance(node.value, ast.Name) and node.value.id == "time":
                users.add(str(path.relative_to(ROOT)))
            if isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"):
                assert not {"time", "time_ns", "datetime"} & {name.name for name in node.names}, path
    assert users == set(WALL_CLOCK)
