"""What servers cannot, and which checks that excuses: the one table of excuses.

A trait excuses a check only with the answer it names: an error that is told at once, or a fact that every
client would see; where a check brings content, only if that arrived. Nothing excuses a wrong byte.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.servers.judging import MISSING, Outcome, Verdict

ANY = "*"
"""Stands for every check, in a row of ``excuses``."""

UNSUPPORTED = r"(\b(EOPNOTSUPP|EPERM|EACCES)\b|Operation not (supported|permitted)|Permission denied)"
"""The request is refused, by whatever name."""

ATTRIBUTE = rf"^(?!.*(clos|writ)).*{UNSUPPORTED}"
"""A refusal, and not in place of a close or a write, which are about data."""

SETTING = [
    "cp_with_times",
    "cp_a_tree_in",
    "cp_a_link_in",
    "rsync_in",
    "rsync_a_link_in",
    "rsync_again_finds_nothing_to_do",
    "rsync_of_a_changed_file",
    "tar_x",
    "tar_x_a_link",
    "zip_and_unzip",
    "refused_times_keep_the_data",
    "touch",
    "utime_of_now_and_omit",
    "times_of_a_file",
    "times_of_a_directory",
    "times_set_before_close",
    "times_before_the_last_write",
    "copy_a_tree_by_python",
    "mkdir_deep",
    "rsync_in_place",
    "gzip_and_gunzip",
]
"""Checks that set times."""

MODES = [
    "chmod_a_file",
    "chmod_a_directory",
    "chmod_an_open_file",
    "owner_of_a_file",
    "install_with_a_mode",
    "change_a_target_through_its_link",
    "rsync_without_times",
    "sed_in_place",
    "git_init_and_commit",
    "git_commit_twice",
    "git_clone_into_the_mount",
    "private_from_the_beginning",
    "mode_of_a_new_file",
]
"""Checks that set modes or owners."""

SIZES = [
    "truncate_to_less",
    "truncate_to_more",
    "truncate_an_open_file",
    "rsync_in_place",
    "sort_onto_itself",
    "empty_and_write_again",
]
"""Checks that set sizes."""

IN_PART = [
    "write_into_the_middle",
    "write_one_byte_of_an_existing_file",
    "open_to_write_and_write_nothing",
    "open_for_both_and_read",
    "read_then_write_by_one_handle",
    "write_by_mmap",
    "append_to_an_existing_file",
    "append_more_than_a_packet",
    "truncate_to_more",
    "truncate_an_open_file",
    "rsync_in_place",
    "dd_into_the_middle",
    "two_handles_write_parts",
    "git_commit_twice",
    "sqlite_rolls_back",
    "sort_onto_itself",
    "shell_that_writes_in_turns",
    "make_a_target",
    "write_on_after_a_cut",
    "cut_with_writes_under_way",
]
"""Checks that write into what is there."""

MADE_LINKS = [
    "make_a_symbolic_link",
    "make_a_dangling_link",
    "make_an_absolute_link",
    "replace_a_link_with_ln",
    "cp_a_link_in",
    "rsync_a_link_in",
    "tar_x_a_link",
]
"""Checks that make symbolic links."""

HIDDEN = r"ENOENT|No such file or directory|vanished|File removed"


class Trait(NamedTuple):
    """``why`` in the protocol's words; ``excuses``: check → what the difference has to match."""

    why: str
    excuses: dict[str, str]


TRAITS: dict[str, Trait] = {
    "LSTAT follows links": Trait(
        "a link is told as what it leads to, and what is done to it is done to that",
        {
            "follow_a_link": "a link: False",
            "change_a_link_not_its_target": "^the target's time is changed; the target's owner is changed$",
            "links_by_cp_rsync_and_tar_out": HIDDEN,
        },
    ),
    "RENAME follows links": Trait(
        "what a link leads to is renamed: that is refused, or happens before it is known of the server",
        {
            "rename_a_link": rf"{UNSUPPORTED}|target: ENOENT on the server",
            "replace_a_link_with_ln": rf"failed to create symbolic link 'current': {UNSUPPORTED}",
        },
    ),
    "handles end where the file did": Trait(
        "what is written later is not read by a handle that is open: that is opened again by its name",
        {"remove_an_open_file": "^EIO "},
    ),
    "other targets": Trait(
        "a relative target of a link is made an absolute one of another directory: such a link is refused",
        dict.fromkeys((link for link in MADE_LINKS if link != "make_an_absolute_link"), UNSUPPORTED),
    ),
    "handles go by names": Trait(
        "what is open tells of, or reads, what has its name now: it is stale once that is another file",
        dict.fromkeys(
            ("replace_an_open_file", "remove_a_file_open_to_read", "remove_an_open_file"), "ESTALE"
        ),
    ),
    "no file is cut": Trait(
        "a size is not set, or nothing kept: a file is made longer or emptied in other ways",
        dict.fromkeys(
            ("truncate_to_less", "truncate_an_open_file", "rsync_in_place"),
            rf"{UNSUPPORTED}|^EIO .*/truncate_to_less/|ftruncate failed on .*Input/output error",
        ),
    ),
    "whole files": Trait(
        "a file that is there is written anew, not in part",
        dict.fromkeys(IN_PART, rf"{UNSUPPORTED}|ESTALE|readonly database")
        | {
            "save_by_vim": "^EIO ",
            "truncate_to_less": "^EIO ",
            "times_of_a_file_written_to": UNSUPPORTED,
        },
    ),
    "front to back": Trait(
        "a file is written from its beginning to its end, by one handle",
        {
            "write_with_a_hole": "^E(IO|OPNOTSUPP) ",
            "two_handles_append": "^E(IO|OPNOTSUPP) ",
            "sqlite_database": "disk I/O error",
            "read_beside_a_writer": "EBUSY|ESTALE",
        },
    ),
    "no control characters": Trait(
        "a name with one is another once it is made: its file is not found",
        {"odd_names": "^EIO ", "names_of_any_bytes": r"b'\\x01\\x7f': EIO"},
    ),
    "the time that was set last": Trait(
        "a time that was set before CLOSE is the file's, whatever was written since",
        {"times_before_the_last_write": "^now: False"},
    ),
    "names are ASCII": Trait("other names are refused", {"odd_names": "EIO .*/ü"}),
    "no hard links": Trait(
        "no hardlink@openssh.com",
        {"hard_link": rf"link: {UNSUPPORTED}", "hard_link_over_what_is_there": rf"link: {UNSUPPORTED}"},
    ),
    "no statvfs": Trait("no statvfs@openssh.com: df shows 0", {"space_left": "total: False"}),
    "no attributes of links": Trait(
        "no lsetstat@openssh.com",
        {
            "change_a_link_not_its_target": rf"utime: {UNSUPPORTED}",
            "cp_a_link_in": rf"preserving times for .*link': {UNSUPPORTED}",
            "rsync_a_link_in": rf'failed to set times on .*link": {UNSUPPORTED}',
        },
    ),
    "no SETSTAT": Trait(
        "SETSTAT is refused: no mode, owner, time or size is set",
        dict.fromkeys((*SETTING, *MODES, *SIZES), ATTRIBUTE),
    ),
    "no times": Trait("times are refused", dict.fromkeys(SETTING, ATTRIBUTE)),
    "names are UTF-8": Trait(
        "names of other bytes are refused, or not shown, or shown otherwise",
        {
            "names_of_any_bytes": r"EIO|EINVAL|EILSEQ|\\xef\\xbf\\xbd",
            "names_of_any_bytes_made_there": r"EIO|EINVAL|EILSEQ|here: \[b'plain'\]",
        },
    ),
    "no name before CLOSE": Trait(
        "a new file has its name once it is closed",
        {
            "fsync_then_read_elsewhere": "^ENOENT .*served/fsync",
            **dict.fromkeys(("read_beside_a_writer", "remove_an_open_file", "rename_an_open_file"), "EBUSY"),
            "long_names": "^longer: EIO",
            "change_a_target_through_its_link": "^content: b'kept' instead of b'changed'$",
        },
    ),
    "a longer name before CLOSE": Trait(
        "what is written has the name with six characters more",
        {"long_names": "^EIO ", "odd_names": "^EINVAL "},
    ),
    "umask of the server": Trait(
        "modes of what is made are cut by its umask",
        {"mode_of_a_new_file": "644: '0o600'", "mode_of_a_new_directory": "755: '0o700'"},
    ),
    "no links": Trait(
        "links are not shown and cannot be made",
        dict.fromkeys(MADE_LINKS, UNSUPPORTED)
        | dict.fromkeys(("follow_a_link", "remove_a_link", "rename_a_link", "hard_link"), HIDDEN)
        | dict.fromkeys(
            (
                "change_a_link_not_its_target",
                "change_a_target_through_its_link",
                "links_by_cp_rsync_and_tar_out",
            ),
            HIDDEN,
        ),
    ),
    "no modes": Trait(
        "modes, owners and times of access are taken and not kept; special files are not shown",
        dict.fromkeys((*MODES, "mode_of_a_new_directory", "modes_are_told"), r"'0o\d+' instead of '0o\d+'")
        | dict.fromkeys(("cp_with_times", "cp_a_tree_in", "cp_a_tree_out"), "^modes: ")
        | dict.fromkeys(("rsync_in", "rsync_out", "tar_x"), "^modes: ")
        | {
            "private_from_the_beginning": r"others: \d+ instead of 0",
            "owner_of_a_file": r"on the server: \(0, 0\)",
            "times_of_a_file": "of access:",
            "times_of_a_directory": r"on the server: \d+\.\d+ instead of",
            "types_are_told": "ENOENT .*pipe",
            "rsync_again_finds_nothing_to_do": r"^second time: '(\.f\.\.\.p[^']*?(\\n)?)+' instead of ''$",
        },
    ),
    **{
        f"no {request}": Trait(f"{request.upper()} is refused", {ANY: UNSUPPORTED})
        for request in ("readlink", "symlink", "remove", "mkdir", "rmdir")
    },
}
"""Name → trait."""


def excused(names: tuple[str, ...], check: str, outcome: Outcome) -> Outcome:
    """``outcome``, or EXCUSED where one of the server's traits says so."""
    if outcome.verdict not in (Verdict.REFUSED, Verdict.LIE) or outcome.what.endswith(MISSING):
        return outcome
    for name in names:
        excuses = TRAITS[name].excuses
        for pattern in (excuses.get(check), excuses.get(ANY) if outcome.verdict is Verdict.REFUSED else None):
            if pattern and re.search(pattern, outcome.what, re.DOTALL):
                return Outcome(Verdict.EXCUSED, f"{name}: {outcome.what}")
    return outcome
