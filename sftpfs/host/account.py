"""Who we are and where our home is, by the user database, as for ssh.

``$HOME``, ``$USER`` and ``$LOGNAME`` do not count: ``sudo -E`` and ``su`` leave those of another user, whose
files would be believed and whose commands would run. ``$HOME`` counts for a user that the database does not
know.
"""

from __future__ import annotations

import os
import pwd


def home_directory() -> str:
    """Where ``~`` leads."""
    entry = _entry()
    home = entry.pw_dir if entry is not None else os.environ.get("HOME", "")
    return home if os.path.isabs(home) else "/"


def login_name() -> str:
    """Our name; the number if the database does not know it."""
    entry = _entry()
    return entry.pw_name if entry is not None else str(os.getuid())


def in_home(path: str) -> str:
    """``path`` with ``~`` and ``~user`` at its beginning replaced."""
    if path == "~" or path.startswith("~/"):
        return home_directory().rstrip("/") + path[1:] or "/"
    return os.path.expanduser(path)


def _entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(os.getuid())
    except KeyError:
        return None
