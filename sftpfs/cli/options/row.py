"""What an option is: the row type of the option table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Section(Enum):
    """Headings of the help text, in its order."""

    COMMAND = "Command"
    CONNECTION = "Connection"
    CACHE = "Metadata cache"
    DATA = "File content"
    OWNERSHIP = "Owners and permissions"
    LINKS = "Links and names"
    KERNEL = "Kernel and libfuse"
    FSTAB = "fstab words, accepted and without effect here"
    MOOT = "Accepted for sshfs's and libfuse's sake, without effect"
    REFUSED = "Refused"


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    If ``parse`` is None it takes no value and sets ``constant``. Only one member of the group ``excludes``
    may be given. ``to_kernel`` passes it on to libfuse. ``why`` says why a MOOT or REFUSED option has no
    effect.
    """

    name: str
    help: str
    section: Section
    fields: tuple[str, ...] = ()
    parse: Callable[[str], object] | None = None
    metavar: str = "N"
    constant: object = True
    default: str = ""
    aliases: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    excludes: str = ""
    to_kernel: bool = False
    optional_value: bool = False
    """It may be written with a value or without; only for options whose value has no effect."""
    why: str = ""

    @property
    def takes_value(self) -> bool:
        """True if the form is ``name=VALUE``."""
        return self.parse is not None

    @property
    def label(self) -> str:
        """As a person writes it: ``-p PORT, -o port=PORT``."""
        value = self.metavar if self.takes_value else ""
        words = [f"{flag} {value}".rstrip() for flag in self.flags]
        if self.name:
            equals = f"={value}" if value else ""
            words += [f"-o {name}{equals}" for name in (self.name, *self.aliases)]
        return ", ".join(words)
