"""What is not mended yet: for each server of the test command the checks that do not pass.

A check that is named here and passes fails the test, so that every mend shrinks this table.
"""

from __future__ import annotations

NAME_TOO_LONG = "long_names"
"""A name of 256 bytes, which the server refuses with FAILURE, is EINVAL or EIO."""

KNOWN: dict[str, set[str]] = {
    "openssh-P-extensions": {NAME_TOO_LONG},
    "gesftpserver": {  # SYMLINK takes its paths in the draft's order
        NAME_TOO_LONG,
        "cp_a_link_in",
        "make_a_dangling_link",
        "make_a_symbolic_link",
        "make_an_absolute_link",
        "replace_a_link_with_ln",
        "rsync_a_link_in",
        "tar_x_a_link",
    },
    "paramiko": {  # SETSTAT of a size empties the file before
        NAME_TOO_LONG,
        "rsync_in_place",
        "truncate_an_open_file",
        "truncate_to_less",
        "truncate_to_more",
    },
    "proftpd": {  # OPEN for APPEND is PERMISSION_DENIED
        NAME_TOO_LONG,
        "append_more_than_a_packet",
        "append_to_an_existing_file",
        "git_commit_twice",
        "make_a_target",
        "shell_that_writes_in_turns",
        "times_of_a_file_written_to",
        "two_handles_append",
    },
}
"""Server → checks."""
