"""What is not mended yet: for each server of the test command the checks that do not pass.

A check that is named here and passes fails the test, so that every mend shrinks this table.
"""

from __future__ import annotations

KNOWN: dict[str, set[str]] = {}
"""Server → checks."""
