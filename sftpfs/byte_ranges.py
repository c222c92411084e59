"""Ranges of bytes: (first byte, byte after the last). Pure."""

from __future__ import annotations

Ranges = list[tuple[int, int]]


def merged(ranges: Ranges) -> Ranges:
    """``ranges`` in the order of their offsets; those that touch or overlap become one."""
    result: Ranges = []
    for start, end in sorted(ranges):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def without(ranges: Ranges, others: Ranges) -> Ranges:
    """The parts of ``ranges`` that are in none of ``others``."""
    for first, last in others:
        before = [(start, min(end, first)) for start, end in ranges if start < first]
        ranges = before + [(max(start, last), end) for start, end in ranges if end > last]
    return sorted(ranges)
