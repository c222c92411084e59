"""Which bytes of a read agree with what they may be, for whole ranges at once: byte by byte, a run with large
files and many writes takes longer than a run may.

A mask is a number with 255 in place of each byte of the read that agrees, the first one lowest.
"""

from __future__ import annotations

_EQUAL = b"\xff" + bytes(255)
"""Maps the difference of two bytes to their mask."""


def everything(length: int) -> int:
    """All of ``length`` bytes."""
    return (1 << 8 * length) - 1


def within(offset: int, length: int, start: int, end: int) -> int:
    """Those of ``length`` bytes at ``offset`` that lie from ``start`` up to ``end``."""
    first, last = max(start - offset, 0), min(end - offset, length)
    return everything(last - first) << 8 * first if first < last else 0


def agreeing(data: bytes, offset: int, other: bytes, at: int = 0) -> int:
    """Those of ``data``, which lies at ``offset``, that ``other``, which lies at ``at``, has in place."""
    start, end = max(offset, at), min(offset + len(data), at + len(other))
    if start >= end:
        return 0
    mine, its = data[start - offset : end - offset], other[start - at : end - at]
    if mine == its:
        mask = everything(end - start)
    else:
        differing = int.from_bytes(mine, "little") ^ int.from_bytes(its, "little")
        mask = int.from_bytes(differing.to_bytes(end - start, "little").translate(_EQUAL), "little")
    return mask << 8 * (start - offset)


def replaced(data: bytes, mask: int, other: bytes) -> bytes:
    """``data`` with the bytes of ``other``, which is as long, in the places of ``mask``."""
    taken = int.from_bytes(other, "little") & mask
    kept = int.from_bytes(data, "little") & ~mask
    return (taken | kept).to_bytes(len(data), "little")
