"""Programs run to their end by tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def run(*command: object, cwd: Path | None = None, **environment: str) -> str:
    """stdout of a program that must succeed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout
