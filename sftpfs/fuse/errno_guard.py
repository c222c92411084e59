"""The one place where an exception of ours becomes an errno for the kernel.

A handler may raise only FUSEError: anything else would end the mount.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from pyfuse3 import FUSEError

from sftpfs import operation
from sftpfs.fuse.device_turns import step

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

log = logging.getLogger(__name__)


def guarded(
    handler: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Wrap a handler: an operation begins; OSError → its errno, an unforeseen error → EIO and a log entry."""

    @wraps(handler)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        operation.begin()
        try:
            return await step(handler(self, *args, **kwargs))
        except FUSEError:
            raise
        except OSError as problem:
            raise FUSEError(problem.errno or errno.EIO) from None
        except Exception:
            log.exception("internal error in %s: please report it", handler.__name__)
            raise FUSEError(errno.EIO) from None

    return call
