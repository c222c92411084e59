"""The product's sizes of bulk, divided, so that what begins with the second megabyte begins with less.

What a megabyte is made of (requests, stripes, connections, extents) stays as it is; the bytes of each are
fewer, and a run takes a tenth of the time. ``by`` is a power of two.
"""

from __future__ import annotations

from types import ModuleType

from sftpfs.data import file_content, reader, reads_in_flight
from sftpfs.data.buffers import chunk_cache, dirty_extents, read_ahead
from sftpfs.data.writing import settle, writer
from sftpfs.remote.files import pooled_file
from sftpfs.remote.operations import list_directory
from sftpfs.remote.pool import bulk_connections, connection, growth_policy
from tests.simulation import kernel_files

_SIZES: tuple[tuple[ModuleType, str], ...] = (
    (pooled_file, "BULK_BYTES"),
    (bulk_connections, "BULK_BYTES_PER_CONNECTION"),
    (connection, "NEAR_BYTES"),
    (connection, "FAR_BYTES"),
    (growth_policy, "WINDOW_BYTES"),
    (dirty_extents, "EXTENT_BYTES"),
    (dirty_extents, "WHOLE_WRITE_BYTES"),
    (writer, "UNSENT_BYTES"),
    (chunk_cache, "CHUNK_BYTES"),
    (reader, "CHUNK_BYTES"),
    (read_ahead, "CHUNK_BYTES"),
    (kernel_files, "READ_AHEAD"),
)
_SHIFTED = (chunk_cache, reader, reads_in_flight, settle, file_content)
_SHIFT = chunk_cache.CHUNK_SHIFT
_WHOLE = [getattr(module, name) for module, name in _SIZES]


def show_together(names: int) -> None:
    """For the next run: a directory of more ``names`` is shown in parts."""
    list_directory.SHOWN_TOGETHER = names


def divide(by: int) -> None:
    """For the next run; 1 for what they are."""
    for (module, name), whole in zip(_SIZES, _WHOLE, strict=True):
        setattr(module, name, whole // by)
    shift = _SHIFT - by.bit_length() + 1
    for of_chunks in _SHIFTED:
        for name, value in (("CHUNK_SHIFT", shift), ("CHUNK_MASK", (1 << shift) - 1)):
            if hasattr(of_chunks, name):
                setattr(of_chunks, name, value)
