"""The request by which ``sftpfs rm`` has the mount remove files and trees: checks it, and sends the news."""

from __future__ import annotations

import errno
import os
from typing import Any

import trio

from sftpfs.control.mount_view import MountView
from sftpfs.control.protocol import MAX_REPLY, ControlError, Values
from sftpfs.control.server import Send
from sftpfs.errors import SessionLostError, said
from sftpfs.vfs.tree_remove.news import News
from sftpfs.vfs.tree_remove.removal import Order

INTERVAL = 0.25
"""Seconds between two lines of progress: a person sees it move."""

MOST_TEXT = MAX_REPLY // 8
"""Characters of paths in one line, which become up to six bytes each."""


async def remove(mounted: MountView, arguments: Values, send: Send) -> Values:
    """Removes ``targets``, each the inode number of a directory, which the client holds, and a name in it.

    ``recursive``, ``empty_directories``, ``ignore_missing`` as ``Order`` has them. Paths from the mount's
    root in ``mounted`` have something mounted on them. ``verbose``: tells of every name that went. EROFS for
    a read-only mount. Progress has ``count`` and ``failures`` so far, and what is new: ``failed``, a target's
    number, the path below it, an errno or 0, and what failed; ``went``, a target's number, a path and whether
    it was a directory. ``stopped`` is why the rest was not tried.
    """
    targets = _targets(arguments.get("targets"))
    others = [_names(path) for path in _list(arguments.get("mounted", []))]
    if mounted.read_only():
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    order = Order(
        recursive=arguments.get("recursive") is True,
        empty_directories=arguments.get("empty_directories") is True,
        ignore_missing=arguments.get("ignore_missing") is True,
    )
    news = News(verbose=arguments.get("verbose") is True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep_sending, news, send)
        await mounted.filesystem.remover.remove(targets, order, others, news)
        nursery.cancel_scope.cancel()
    await _send_news(news, send)
    values: Values = {"count": news.count, "failures": news.failures}
    return values if news.stopped is None else {**values, "stopped": said(news.stopped)}


async def _keep_sending(news: News, send: Send) -> None:
    while True:
        await trio.sleep(INTERVAL)
        with trio.CancelScope(shield=True):  # a line that was begun is sent, or the client is gone
            await _send_news(news, send)


async def _send_news(news: News, send: Send) -> None:
    """What is new, in as many lines as it takes."""
    failed, went = news.take()
    rows: list[tuple[str, list[Any], int]] = [
        ("failed", [one.target, path := os.fsdecode(one.path), *_described(one.problem)], len(path))
        for one in failed
    ]
    rows += [("went", [one.target, path := os.fsdecode(one.path), one.directory], len(path)) for one in went]
    line: dict[str, list[Any]] = {}
    size = 0
    for kind, row, length in rows:
        line.setdefault(kind, []).append(row)
        size += length + 100
        if size > MOST_TEXT:
            await send({**line, "count": news.count, "failures": news.failures})
            line, size = {}, 0
    await send({**line, "count": news.count, "failures": news.failures})


def _described(problem: OSError) -> tuple[int, str]:
    """Its errno and words. A loss has its own words; for anything else the system's are those of rm(1)."""
    number = problem.errno or 0
    if number and not isinstance(problem, SessionLostError):
        return number, os.strerror(number)
    return number, said(problem)


def _targets(value: object) -> list[tuple[int, bytes]]:
    """Raises ControlError."""
    found = []
    for one in _list(value):
        if not isinstance(one, list) or len(one) != 2:
            raise ControlError("a request with something else than targets")
        directory, name = one
        if not isinstance(directory, int) or isinstance(directory, bool):
            raise ControlError("a request with something else than targets")
        names = _names(name)
        if len(names) != 1:
            raise ControlError("a request to remove what is no name")
        found.append((directory, names[0]))
    return found


def _names(path: object) -> list[bytes]:
    """The names of a path inside the mount. Raises ControlError."""
    if not isinstance(path, str) or "\0" in path:
        raise ControlError("a request with something else than paths")
    try:
        names = [os.fsencode(name) for name in path.split("/") if name]
    except UnicodeEncodeError:
        raise ControlError("what is given is not a path") from None
    if b".." in names or b"." in names:
        raise ControlError("a request to remove what is no name")
    return names


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ControlError("a request without a list of what it is about")
    return value
