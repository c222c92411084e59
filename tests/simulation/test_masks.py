"""Masks say what a look at each byte says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.simulation import masks

few = st.lists(st.sampled_from([0, 1, 2]), max_size=12).map(bytes)
places = st.integers(0, 15)


def positions(mask: int, length: int) -> list[bool]:
    """Whether each byte is in ``mask``, which has them whole."""
    content = mask.to_bytes(length, "little")
    assert set(content) <= {0, 255}
    return [byte == 255 for byte in content]


@given(few, places, few, places)
def test_bytes_that_agree(data: bytes, offset: int, other: bytes, at: int) -> None:
    expected = [
        0 <= offset + index - at < len(other) and other[offset + index - at] == byte
        for index, byte in enumerate(data)
    ]
    assert positions(masks.agreeing(data, offset, other, at), len(data)) == expected


@given(few, places, places, places)
def test_bytes_within(data: bytes, offset: int, start: int, end: int) -> None:
    expected = [start <= offset + index < end for index in range(len(data))]
    assert positions(masks.within(offset, len(data), start, end), len(data)) == expected


@given(few, few)
def test_bytes_replaced(data: bytes, other: bytes) -> None:
    other = other.ljust(len(data), b"\x07")[: len(data)]
    mask = masks.agreeing(data, 0, b"\x01" * len(data))
    expected = bytes(new if old == 1 else old for old, new in zip(data, other, strict=True))
    assert masks.replaced(data, mask, other) == expected
