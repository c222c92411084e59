"""What stands before the server passes on all there is, and what converts names misses none."""

from __future__ import annotations

import inspect

from sftpfs.remote.api import Remote
from sftpfs.remote.iconv_names import ConvertedRemote
from sftpfs.remote.wrapper import InFront

OF_NAMES = ("path", "paths", "old", "new", "existing", "source", "destination", "near", "at", "current_path")
"""Parameters of ``Remote`` that are names, or lead to some."""


def members(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_everything_is_passed_on() -> None:
    assert members(InFront) == members(Remote)


def test_every_method_with_names_converts_them() -> None:
    with_names = {
        name
        for name, member in vars(Remote).items()
        if inspect.isfunction(member) and set(inspect.signature(member).parameters) & set(OF_NAMES)
    }
    assert {"lstat", "rename", "open_later", "named_by"} <= with_names
    assert with_names <= members(ConvertedRemote)
