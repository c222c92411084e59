"""Names that are in one character set on the server and in another one here (``modules=iconv``). Pure.

Owns which name here stands for which name on the server, and that this is one to one: ``shown`` and ``kept``
undo each other, and every name that a server can have has a name here. A name without a counterpart is
*escaped*: its percent signs, and all of its bytes that are no printable ASCII, are written as %XX. A name
that would read as such an escape is escaped itself. Used by ``remote.iconv_names`` alone; ``cli`` asks which
character sets there are.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from unicodedata import normalize

from sftpfs.types import LONGEST_NAME

DECOMPOSED = ("utf-8-mac", "utf8-mac")
"""libiconv's names for UTF-8 as macOS writes names: letters apart from their accents (Unicode's form NFD)."""

_SPANS = re.compile("[^\u2000-\u2fff\uf900-\ufaff\U0002f800-\U0002faff]+")
"""What macOS decomposes. It leaves some symbols and compatibility ideographs as they are."""

_ESCAPES = [b"%c" % byte if 0x20 <= byte < 0x7F and byte != 0x25 else b"%%%02X" % byte for byte in range(256)]
_ESCAPE = re.compile(rb"%([0-9A-F]{2})")

MOST_NESTED = 8
"""A name that reads as an escape of an escape, nested this often or more, counts as one without looking
further. So the cost of a name has a bound."""


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """Bytes to text and back; both raise ValueError for what the character set does not have."""

    decode: Callable[[bytes], str]
    encode: Callable[[str], bytes]


def character_set(name: str) -> CharacterSet:
    """The character set that Python, or for macOS's libiconv, calls ``name``. Raises ValueError.

    ASCII must be itself in it, because a server's slash is a slash.
    """
    if name.lower().replace("_", "-") in DECOMPOSED:
        return CharacterSet(
            lambda name: _turned(name.decode("utf-8")), lambda text: _turned(text).encode("utf-8")
        )
    try:
        codec = codecs.lookup(name).name
        ascii_stays = "a".encode(codec) == b"a" and all(
            bytes([byte]).decode(codec) == chr(byte) for byte in range(1, 128)
        )
    except (LookupError, ValueError):
        ascii_stays = False
    if not ascii_stays:
        raise ValueError("a character set that Python knows and that contains ASCII, or UTF-8-MAC")
    return CharacterSet(lambda name: name.decode(codec), lambda text: text.encode(codec))


def _turned_once(text: str) -> str:
    composed = _SPANS.sub(lambda span: normalize("NFC", span[0]), text)
    decomposed = _SPANS.sub(lambda span: normalize("NFD", span[0]), text)
    if text == decomposed:
        return composed
    return decomposed if text == composed else text


def _turned(text: str) -> str:
    """``text`` composed if it was decomposed, and the reverse. Otherwise, and if that does not lead back,
    unchanged. So two names that differ only in this remain two."""
    other = _turned_once(text)
    return other if _turned_once(other) == text else text


def _escaped(name: bytes) -> bytes:
    return b"".join([_ESCAPES[byte] for byte in name])


def _unescaped(shown: bytes) -> bytes | None:
    """The name whose escape is ``shown``; None if no name has that escape."""
    if b"%" not in shown:
        return None
    name = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), shown)
    return name if _escaped(name) == shown else None


def _converted(name: bytes, source: CharacterSet, target: CharacterSet) -> bytes | None:
    """``name`` in ``target``; None if it has no counterpart that is a name and leads back to it."""
    if name.isascii():
        return name
    try:
        result = target.encode(source.decode(name))
        back = source.encode(target.decode(result))
    except ValueError:
        return None
    if back != name or result.isascii() or b"/" in result or b"\0" in result or len(result) > LONGEST_NAME:
        return None
    return result


class NameConversion:
    """Names kept in ``from_code`` on the server, shown in ``to_code`` here.

    Each component of a path is converted; dots and slashes stay what they are. Raises ValueError if there is
    no such character set.
    """

    def __init__(self, from_code: str, to_code: str) -> None:
        self._there = character_set(from_code)
        self._here = character_set(to_code)

    def shown(self, name: bytes) -> bytes:
        """The name here of the server's ``name``. It has more than ``LONGEST_NAME`` bytes only if ``name``
        has more than a third of that."""
        natural = _converted(name, self._there, self._here)
        return _escaped(name) if natural is None or self._reads_as_escape(natural) else natural

    def kept(self, shown: bytes) -> bytes | None:
        """The server's name that is shown as ``shown`` here; None if no name of the server's can be."""
        if not self._reads_as_escape(shown):
            return _converted(shown, self._here, self._there)
        name = _unescaped(shown)
        return name if name is not None and self.shown(name) == shown else None

    def _reads_as_escape(self, shown: bytes) -> bool:
        """Whether ``shown`` is the escape of a name that is escaped."""
        for _ in range(MOST_NESTED):
            name = _unescaped(shown)
            if name is None:
                return False
            natural = _converted(name, self._there, self._here)
            if natural is None:
                return True
            shown = natural
        return True

    def shown_path(self, path: bytes) -> bytes:
        """``shown`` of a path, or of a link's target."""
        if path.isascii() and b"%" not in path:
            return path
        return b"/".join(map(self.shown, path.split(b"/")))

    def kept_path(self, path: bytes) -> bytes | None:
        """``kept`` of a path, or of a link's target; None if one of its names cannot be on the server."""
        if path.isascii() and b"%" not in path:
            return path
        names = list(map(self.kept, path.split(b"/")))
        kept = [name for name in names if name is not None]
        return b"/".join(kept) if len(kept) == len(names) else None
