"""The product's sizes of bulk, divided, so that what begins with the second megabyte begins with less.

What a megabyte is made of (requests, stripes, connections, extents) stays as it is; the bytes of each are
fewer, and a run takes a tenth of the time.
"""

from __future__ import annotations

from types import ModuleType

from sftpfs.data import extents, writer
from sftpfs.remote import bulk, connection, file, growth

_SIZES: tuple[tuple[ModuleType, str], ...] = (
    (file, "BULK_BYTES"),
    (bulk, "BULK_BYTES_PER_CONNECTION"),
    (connection, "NEAR_BYTES"),
    (connection, "FAR_BYTES"),
    (growth, "WINDOW_BYTES"),
    (extents, "EXTENT_BYTES"),
    (extents, "WHOLE_WRITE_BYTES"),
    (writer, "UNSENT_BYTES"),
)
_WHOLE = [getattr(module, name) for module, name in _SIZES]


def divide(by: int) -> None:
    """For the next run; 1 for what they are."""
    for (module, name), whole in zip(_SIZES, _WHOLE, strict=True):
        setattr(module, name, whole // by)
