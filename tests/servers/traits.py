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
            "make_a_symbolic_link": "symlink: EIO",
            "replace_a_link_with_ln": "failed to create symbolic link 'current': Input/output error",
            "change_a_link_not_its_target": "^the target's time is changed; the target's owner is changed$",
            "rename_a_link": "target: ENOENT on the server",
            "links_by_cp_rsync_and_tar_out": HIDDEN,
        },
    ),
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
        {"fsync_then_read_elsewhere": "^ENOENT .*served/fsync"},
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
