"""Requests by path: each is sent to where its file is, whatever we rename meanwhile.

The one place that computes the path of a request to the server. ``query`` is for requests that may be sent
twice, ``mutate`` for those that may not. A *target* is an inode, or a name in a directory as (directory,
name).

Renames are fair to what is below them. A request waits for the renames above it that are under way. A request
that had to wait for a rename, or met one, is *held* until it ends; so is every change. A later rename waits
for what is held. A change waits for a rename that came before it and is not sent yet, for a change of the
same inode or of the same name, and for whoever looks at the inode ``exclusively``. So a change can be
explained where it was made, no loop of renames keeps a request from ending, and what is not held never delays
a rename. Whoever is held waits for those held before it and for what is under way, which waits for nobody but
the server: there is no circle.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sftpfs.aio import Slot
from sftpfs.errors import SessionLostError, UnexplainedError, UnsentError, error
from sftpfs.vfs.tree.inode import Inode, PathHold
from sftpfs.vfs.tree.tree import Tree

T = TypeVar("T")

Target = Inode | tuple[Inode, bytes]

OUTCOME_UNKNOWN = frozenset({errno.EIO, errno.ETIMEDOUT, errno.EPROTO})
"""Errors of a change whose outcome nobody knows. EIO is also a server's failure without a reason."""


async def query(
    tree: Tree,
    send: Callable[..., Awaitable[T]],
    *targets: Target,
    drop: Callable[[T], None] | None = None,
) -> T:
    """The answer of ``send``, called with the paths of ``targets``, which led there all the while.

    It is asked again if a rename of ours came between; ``drop`` gets the answer that does not count. ESTALE
    if an inode has no name any more, ENOENT if a name's directory has none.
    """
    held: PathHold | None = None
    try:
        while True:
            while (renaming := _under_way(tree, targets)) is not None:
                held = held or _hold(tree, targets)
                await renaming.wait()
            paths, places = _paths(tree, targets), _places(tree, targets)
            try:
                answer = await send(*paths)
            except SessionLostError:
                raise
            except OSError:
                if places == _places(tree, targets):
                    raise
            else:
                if places == _places(tree, targets):
                    return answer
                if drop is not None:
                    drop(answer)
            held = held or _hold(tree, targets)
    finally:
        if held is not None:
            _release(tree, held)


async def mutate(
    tree: Tree,
    send: Callable[..., Awaitable[T]],
    *targets: Target,
    moved: Inode | None = None,
    removed: Inode | None = None,
) -> T:
    """The result of ``send``, called with the paths of ``targets``; it changes the tree, too. Never sent
    twice.

    The names among ``targets`` are in ``Tree.pending_change`` until then, and no rename above them is sent.
    ``moved``: what this change gives another name, or takes one from with all that is below. ``removed``:
    what it takes a name from, if other changes of that may come beside it, which the kernel allows for none
    of its own. If nobody knows the outcome, the tree does not either.
    """
    held = _hold(tree, targets, moved)
    held.removed = removed
    held.changed = [target for target in targets if isinstance(target, Inode)]
    try:
        while (
            other := _before(tree, held) or _under_way(tree, targets) or _of_same_name(targets)
        ) is not None:
            await other.wait()
        paths = _paths(tree, targets)
        names = [target for target in targets if isinstance(target, tuple)]
        with tree.pending_change(*names):
            try:
                return await send(*paths)
            except BaseException as problem:
                if outcome_unknown(problem):
                    tree.outcome_unknown(names, [one for one in targets if isinstance(one, Inode)], moved)
                raise
    finally:
        _release(tree, held)


async def mutate_open(tree: Tree, inode: Inode, send: Callable[[], Awaitable[T]]) -> T:
    """As ``mutate``, of ``inode`` by an open handle of it, whatever name it has."""
    held = _hold(tree, (inode,))
    held.changed = [inode]
    try:
        while (other := _before(tree, held)) is not None:
            await other.wait()
        try:
            return await send()
        except BaseException as problem:
            if outcome_unknown(problem):
                tree.outcome_unknown([], [inode])
            raise
    finally:
        _release(tree, held)


def place(tree: Tree, inode: Inode) -> tuple[bytes, int] | None:
    """Where ``inode`` is. As long as it is the same, and not None, the path of a ``query`` answered just
    before still leads there, as far as our own changes go."""
    return tree.location(inode)


def below(path: bytes, name: bytes) -> bytes:
    """The path of ``name`` in the directory at ``path``."""
    return path + name if path.endswith(b"/") else path + b"/" + name


def outcome_unknown(problem: BaseException) -> bool:
    """Whether a change of ours that failed so may have been done all the same."""
    if isinstance(problem, UnsentError | UnexplainedError):
        return False
    return (
        not isinstance(problem, OSError)
        or isinstance(problem, SessionLostError)
        or problem.errno in OUTCOME_UNKNOWN
    )


def _anchor(target: Target) -> Inode:
    return target[0] if isinstance(target, tuple) else target


def _under_way(tree: Tree, targets: tuple[Target, ...]) -> Slot[None] | None:
    for target in targets:
        renaming = tree.change_on_path(_anchor(target))
        if renaming is not None:
            return renaming
    return None


def _of_same_name(targets: tuple[Target, ...]) -> Slot[None] | None:
    """Filled when a change of ours under way of one of these names is done. The kernel makes no two of one
    name at once, but what begins in the mount may meet one of the kernel's."""
    for target in targets:
        if isinstance(target, tuple):
            directory = target[0].directory
            changing = directory.changing.get(target[1]) if directory is not None else None
            if changing is not None:
                return changing
    return None


def _places(tree: Tree, targets: tuple[Target, ...]) -> list[tuple[bytes, int] | None]:
    return [tree.location(_anchor(target)) for target in targets]


def _paths(tree: Tree, targets: tuple[Target, ...]) -> list[bytes]:
    return [
        below(_path(tree, target[0], errno.ENOENT), target[1])
        if isinstance(target, tuple)
        else _path(tree, target, errno.ESTALE)
        for target in targets
    ]


def _path(tree: Tree, inode: Inode, failure: int) -> bytes:
    path = tree.path(inode)
    if path is None:
        raise error(failure)
    return path


def _hold(tree: Tree, targets: tuple[Target, ...], moved: Inode | None = None) -> PathHold:
    held = PathHold([_anchor(target) for target in targets], moved)
    tree.path_holds[held] = None
    return held


def _release(tree: Tree, held: PathHold) -> None:
    del tree.path_holds[held]
    held.ended.set(None)


def _before(tree: Tree, held: PathHold) -> Slot[None] | None:
    """Filled when a request that was held before ``held`` ends: one of the two moves what the other stands
    on, or both change one inode, and what one made would look like another file to the other."""
    for other in tree.path_holds:
        if other is held:
            return None
        if other.moved is not None and _stands_on(held, other.moved):
            return other.ended
        if held.moved is not None and _stands_on(other, held.moved):
            return other.ended
        if held.removed is not None and (held.removed is other.looked_at or held.removed in other.changed):
            return other.ended
        if held.changed and _concerns(other, held.changed):
            return other.ended
    return None


def _concerns(held: PathHold, changed: list[Inode]) -> bool:
    """Whether ``held`` changes one of ``changed``, looks at it exclusively, or takes a name from it."""
    return any(inode in held.changed or inode is held.looked_at or inode is held.removed for inode in changed)


def mutation_under_way(tree: Tree, inode: Inode) -> Slot[None] | None:
    """Filled when a change of ours of ``inode`` itself that is under way ends; None if there is none."""
    return next((held.ended for held in tree.path_holds if inode in held.changed), None)


@asynccontextmanager
async def exclusively(tree: Tree, inode: Inode) -> AsyncIterator[None]:
    """Within the block we make no change of ``inode`` except by writes; later changes wait for its end. It
    must not be used within such a change, nor within another such block."""
    held = _hold(tree, (inode,))
    held.looked_at = inode
    try:
        for other in list(tree.path_holds):
            if other is held:
                break
            if inode in other.changed:
                await other.ended.wait()
        yield
    finally:
        _release(tree, held)


def was_mutated(tree: Tree, inode: Inode, mark: tuple[int, int]) -> bool:
    """Whether a change of ours is under way, or came since ``inode`` had the change mark ``mark``, after
    which an open handle cannot tell it from another file. Writes do not count, because they make size and
    time no less."""
    if mutation_under_way(tree, inode) is not None or inode.change_mark[0] != mark[0]:
        return True
    return not inode.handles and inode.change_mark != mark


def _stands_on(held: PathHold, moved: Inode) -> bool:
    """Whether the path of what is ``held`` leads over ``moved``."""
    for anchor in held.anchors:
        node: Inode | None = anchor
        while node is not None:
            if node is moved:
                return True
            node = node.parent
    return False
