"""``sftpfs restore [WHAT…]``."""

from __future__ import annotations

import os
from argparse import Namespace
from itertools import groupby

from sftpfs.cli.tools.ask_mounts import whoever_answers
from sftpfs.cli.tools.human_format import clock, plural, size
from sftpfs.cli.tools.write_back import (
    HIDDEN,
    Problem,
    Target,
    check,
    hidden,
    reason_of,
    server_of,
    target_of,
    write_back,
)
from sftpfs.control.protocol import Values
from sftpfs.control.socket_location import find
from sftpfs.errors import Failure, MountError
from sftpfs.host.daemon import exit_status, to_stderr
from sftpfs.host.logs import printable
from sftpfs.mount import salvage_store
from sftpfs.mount.salvage_store import Saved

ALL = "all"


def run(given: Namespace) -> int:
    """Returns 0 once what was chosen is in its files again, or removed. Raises MountError."""
    for word in ("drop", "force", "to"):
        if getattr(given, word) and not given.what:
            raise MountError(
                Failure.USAGE, f"--{word} needs WHAT: all, or a file; sftpfs restore lists what is saved"
            )
    directory = salvage_store.store_directory()
    if given.list or not given.what:
        return _work(given, directory)
    with salvage_store.exclusive(
        directory, lambda: to_stderr("another sftpfs restore is at work; waiting for it")
    ):
        return _work(given, directory)


def _work(given: Namespace, directory: str) -> int:
    saved = salvage_store.all_saved(directory)
    mounts = [values for values in whoever_answers("statistics") if "root" in values]
    under = [one for one in mounts if hidden(one) and one["lost"]["directory"] == directory]
    for values in under:
        several_lost = plural(values["lost"]["pieces"], "piece")
        to_stderr(printable(f"{several_lost} of {values['mountpoint']} cannot be reached: {HIDDEN}"))
    status = _do(given, directory, saved, mounts)
    everything = not given.what or ALL in given.what
    return status or (exit_status(Failure.COMMAND) if under and everything else 0)


def _do(given: Namespace, directory: str, saved: list[Saved], mounts: list[Values]) -> int:
    chosen = _chosen(saved, given.what, mounts) if given.what else saved
    if given.list or not given.what:
        for one in chosen:
            print(printable(_line(one)))
        if not chosen:
            print(f"nothing is saved in {directory}")
        return 0
    if given.drop:
        return _drop(chosen)
    if given.to and len({(one.server, one.path) for one in chosen}) > 1:
        raise MountError(Failure.USAGE, "--to takes what one file lost: choose that")
    return _restore(chosen, mounts, given.to, given.force)


def _chosen(saved: list[Saved], words: list[str], mounts: list[Values]) -> list[Saved]:
    """The losses that ``words`` mean, in their order. Raises MountError for a word that means none."""
    chosen: set[str] = set()
    for word in words:
        those = saved if word == ALL else [one for one in saved if _is_meant(one, word)]
        if not those and word != ALL:
            those = _below(saved, word, mounts)
        if not those and word != ALL:
            raise MountError(
                Failure.COMMAND, f"nothing of {word} is saved; sftpfs restore --list shows what is"
            )
        chosen.update(one.base for one in those)
    return [one for one in saved if one.base in chosen]


def _is_meant(saved: Saved, word: str) -> bool:
    """Whether a loss is named by its file in the store, or by its path on the server."""
    name = word.removesuffix(".json")
    return name in (os.path.basename(saved.base), saved.path.decode(errors="surrogateescape")) or (
        os.path.realpath(name) == saved.base
    )


def _below(saved: list[Saved], word: str, mounts: list[Values]) -> list[Saved]:
    """The losses of a path in a mount and of everything below it."""
    try:
        mount, inside = find(word)
    except MountError:
        return []
    found = []
    for values in mounts:
        if values["mountpoint"] == mount.path:
            path = os.path.join(os.fsencode(values["root"]), os.fsencode(inside)).rstrip(b"/")
            found += [
                one
                for one in saved
                if server_of(one.server) == server_of(values["server"])
                and (one.path == path or one.path.startswith(path + b"/"))
            ]
    return found


def _restore(chosen: list[Saved], mounts: list[Values], to: str | None, force: bool) -> int:
    failed = False
    by_file = sorted(chosen, key=lambda one: (one.server, one.path, one.order))
    for _, group in groupby(by_file, key=lambda one: (one.server, one.path)):
        losses = list(group)
        name = f"{losses[0].server.partition(':')[0]}:{os.fsdecode(losses[0].path)}"
        target = Target(os.fsencode(to), _in_a_mount(to)) if to else target_of(losses[0], mounts)
        try:
            if target is None:
                raise MountError(
                    Failure.MOUNTPOINT, "none of your mounts has it now; mount it, or name a file with --to"
                )
            if force:
                losses = [one._replace(newer=[]) for one in losses]
            missing = [one for one in losses if one.missing]
            if missing and not force:
                check(target, missing, same=not to)
            for one in losses:
                more: Saved | None = one
                while more is not None:  # its program may be losing more of it meanwhile
                    if more.missing:
                        write_back(target, more, make=force)
                    more = salvage_store.remove(more)
                print(printable(f"restored: {os.fsdecode(target.path)}, {_what(one)}"))
        except Problem as problem:
            to_stderr(f"not restored: {printable(name)}: {printable(reason_of(problem))}")
            failed = True
    return exit_status(Failure.COMMAND) if failed else 0


def _in_a_mount(path: str) -> bool:
    try:
        find(path)
    except MountError:
        return False
    return True


def _drop(chosen: list[Saved]) -> int:
    failed = False
    for one in chosen:
        what = f"{os.fsdecode(one.path)}, {_what(one)}"
        if salvage_store.remove(one) is None:
            print(printable(f"dropped: {what}"))
        else:
            to_stderr(printable(f"not dropped: {what}: more of it is being lost; look at it again"))
            failed = True
    return exit_status(Failure.COMMAND) if failed else 0


def _what(saved: Saved) -> str:
    if not saved.missing:
        return f"lost {clock(saved.since)}, written again or cut off since"
    how = "appended" if saved.appended else f"in {plural(len(saved.ranges), 'range')}"
    return f"{size(saved.size)} {how}, lost {clock(saved.since)}"


def _line(saved: Saved) -> str:
    path = os.fsdecode(saved.path)
    name = os.path.basename(saved.base)
    return f"{name}: {server_of(saved.server)}:{path}, {_what(saved)}: {saved.reason}"
