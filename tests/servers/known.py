"""What is not mended yet: for each server of the test command the checks that do not pass.

A check that is named here and passes fails the test, so that every mend shrinks this table.
"""

from __future__ import annotations

NAME_TOO_LONG = "long_names"
"""A name of 256 bytes, which the server refuses with FAILURE, is EINVAL or EIO."""

KNOWN: dict[str, set[str]] = {
    "openssh-P-extensions": {NAME_TOO_LONG},
    "gesftpserver": {NAME_TOO_LONG},
    "proftpd": {NAME_TOO_LONG},
    "paramiko": {  # SETSTAT of a size empties the file before
        NAME_TOO_LONG,
        "rsync_in_place",
        "truncate_an_open_file",
        "truncate_to_less",
        "truncate_to_more",
    },
}
"""Server → checks."""
