"""The list of checks, in the order of their making."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.servers.place import Place

Check = Callable[[Place], None]

CHECKS: dict[str, Check] = {}
"""Name → check."""


def check(function: Check) -> Check:
    """Put a check on the list."""
    CHECKS[function.__name__] = function
    return function


def content(seed: int, size: int) -> bytes:
    """Bytes that look like no others."""
    return random.Random(seed).randbytes(size)
