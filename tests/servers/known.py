"""What is not mended yet: for each server of the test command the checks that do not pass.

A check that is named here and passes fails the test, so that every mend shrinks this table.
"""

from __future__ import annotations

KNOWN: dict[str, set[str]] = {
    "paramiko": {  # SETSTAT of a size empties the file before
        "rsync_in_place",
        "truncate_an_open_file",
        "truncate_to_less",
        "truncate_to_more",
    },
}
"""Server → checks."""
