"""Host and login names of a server, and what is refused in them, as by OpenSSH's client.

Names are data: they come from a script, from a URL, from a directory that somebody makes under autofs.
``ProxyCommand`` and ``Match exec`` put them into a shell's command line. So they are checked by ssh's rules
where they come in, and once more before a shell sees them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

IN_NO_HOST = frozenset("'`\"$\\;&<>|(){},")
"""Characters that ssh takes in no host name, because a shell or known_hosts would make more of them."""
IN_NO_USER = frozenset("'`\";&<>|(){}")
r"""Fewer characters, because there are accounts named ``DOMAIN\user`` and ``MACHINE$``."""
IN_NO_SHELL = frozenset(" $")
"""Characters that ssh takes in a login name, although a shell makes several words of it."""


def host_fault(name: str) -> str:
    """Why ``name`` is no host name, in the words of ssh and sshfs; "" if it is one."""
    return _words("hostname", name.startswith("-"), (c for c in name if c in IN_NO_HOST or _unseen(c)))


def user_fault(name: str) -> str:
    """Why ``name`` is no login name, in ssh's words; "" if it is one."""
    faults = [c for c in name if c in IN_NO_USER or (c != " " and _unseen(c))]
    if name.endswith("\\"):
        faults.append("\\")  # it would take the meaning from what follows
    return _words("remote username", name.startswith("-") or " -" in name, faults)


def shell_user_fault(name: str) -> str:
    """As ``user_fault``, for one word of a shell's command line."""
    return user_fault(name) or _words("remote username", False, (c for c in name if c in IN_NO_SHELL))


def _unseen(character: str) -> bool:
    return character.isspace() or not character.isprintable()


def _words(what: str, option: bool, faults: Iterable[str]) -> str:
    if option:
        return f"invalid {what}: a word of it starts with '-'"
    for fault in faults:
        shown = "a blank or control character" if _unseen(fault) else f'"{fault}"'
        return f"{what} contains invalid characters: {shown}"
    return ""
