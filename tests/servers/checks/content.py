"""Bytes of one file: written here and found on the server, made on the server and read here."""

from __future__ import annotations

import mmap
import os

from tests.servers.checks.registry import check
from tests.servers.checks.registry import content as made
from tests.servers.place import Place

KIB = 1024
MIB = 1024 * KIB


@check
def write_a_little(place: Place) -> None:
    (place.here / "file").write_bytes(b"hello\n")
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def write_an_empty_file(place: Place) -> None:
    (place.here / "file").touch()
    place.saw("on the server", (place.there / "file").read_bytes())
    place.saw("here", (place.here / "file").read_bytes())


@check
def read_a_little(place: Place) -> None:
    (place.there / "file").write_bytes(b"hello\n")
    (place.there / "empty").touch()
    place.saw("here", (place.here / "file").read_bytes())
    place.saw("nothing", (place.here / "empty").read_bytes())


def _sizes_around(place: Place, size: int) -> None:
    for length in (size - 1, size, size + 1):
        data = made(length, length)
        (place.here / f"out{length}").write_bytes(data)
        place.saw(f"{length} on the server", (place.there / f"out{length}").read_bytes())
        place.saw(f"{length} back", (place.here / f"out{length}").read_bytes())


def _reads_around(place: Place, size: int) -> None:
    lengths = (size - 1, size, size + 1)
    for length in lengths:
        (place.there / f"in{length}").write_bytes(made(length, length))
    for length in lengths:
        place.saw(f"{length} here", (place.here / f"in{length}").read_bytes())


@check
def write_sizes_around_32_kib(place: Place) -> None:
    _sizes_around(place, 32 * KIB)


@check
def write_sizes_around_256_kib(place: Place) -> None:
    _sizes_around(place, 256 * KIB)


@check
def write_sizes_around_1_mib(place: Place) -> None:
    _sizes_around(place, MIB)


@check
def read_sizes_around_32_kib(place: Place) -> None:
    _reads_around(place, 32 * KIB)


@check
def read_sizes_around_256_kib(place: Place) -> None:
    _reads_around(place, 256 * KIB)


@check
def read_sizes_around_1_mib(place: Place) -> None:
    _reads_around(place, MIB)


@check
def write_9_mb(place: Place) -> None:
    data = made(1, 9_000_001)
    (place.here / "file").write_bytes(data)
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def read_9_mb(place: Place) -> None:
    (place.there / "file").write_bytes(made(2, 9_000_001))
    place.saw("here", (place.here / "file").read_bytes())


@check
def read_backwards(place: Place) -> None:
    (place.there / "file").write_bytes(made(3, MIB))
    with open(place.here / "file", "rb", buffering=0) as file:
        pieces = [os.pread(file.fileno(), 64 * KIB, at) for at in range(MIB - 64 * KIB, -1, -64 * KIB)]
    place.saw("here", b"".join(reversed(pieces)))


@check
def read_here_and_there(place: Place) -> None:
    (place.there / "file").write_bytes(made(4, 2 * MIB))
    with open(place.here / "file", "rb", buffering=0) as file:
        for at in (1_900_000, 5, 700_001, 1_048_570, 0, 2 * MIB - 10):
            place.saw(f"at {at}", os.pread(file.fileno(), 5000, at))


@check
def read_at_the_end_and_beyond(place: Place) -> None:
    (place.there / "file").write_bytes(made(5, 10_000))
    with open(place.here / "file", "rb", buffering=0) as file:
        place.saw("over the end", os.pread(file.fileno(), 4096, 9_990))
        place.saw("at the end", os.pread(file.fileno(), 4096, 10_000))
        place.saw("beyond", os.pread(file.fileno(), 4096, 1_000_000))


@check
def read_by_mmap(place: Place) -> None:
    (place.there / "file").write_bytes(made(6, 300_001))
    with open(place.here / "file", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        place.saw("end", mapped[300_000:])
        place.saw("all", bytes(mapped))


@check
def write_backwards(place: Place) -> None:
    data = made(7, 512 * KIB)
    with open(place.here / "file", "wb", buffering=0) as file:
        for at in range(len(data) - 64 * KIB, -1, -64 * KIB):
            os.pwrite(file.fileno(), data[at : at + 64 * KIB], at)
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def write_with_a_hole(place: Place) -> None:
    with open(place.here / "file", "wb", buffering=0) as file:
        file.write(b"begin")
        file.seek(300_000)
        file.write(b"end")
    place.saw("on the server", (place.there / "file").read_bytes())
    place.saw("here", (place.here / "file").read_bytes())


@check
def write_many_lines(place: Place) -> None:
    with open(place.here / "file", "wb", buffering=0) as file:
        for number in range(500):
            file.write(b"line %d\n" % number)
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def write_into_the_middle(place: Place) -> None:
    before = made(8, 100_000)
    (place.there / "file").write_bytes(before)
    after = before[:50_000] + b"changed" + before[50_007:]
    place.guard("file", before, after)
    with open(place.here / "file", "r+b") as file:
        file.seek(50_000)
        file.write(b"changed")
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def write_one_byte_of_an_existing_file(place: Place) -> None:
    before = made(9, 70_000)
    (place.there / "file").write_bytes(before)
    place.guard("file", before, b"!" + before[1:])
    descriptor = os.open(place.here / "file", os.O_WRONLY)
    try:
        os.write(descriptor, b"!")
    finally:
        os.close(descriptor)
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def open_to_write_and_write_nothing(place: Place) -> None:
    before = made(10, 70_000)
    (place.there / "file").write_bytes(before)
    place.guard("file", before)
    os.close(os.open(place.here / "file", os.O_WRONLY))
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def open_for_both_and_read(place: Place) -> None:
    before = made(11, 70_000)
    (place.there / "file").write_bytes(before)
    place.guard("file", before)
    with open(place.here / "file", "r+b") as file:
        place.saw("here", file.read())
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def read_then_write_by_one_handle(place: Place) -> None:
    before = made(12, 40_000)
    (place.there / "file").write_bytes(before)
    after = before + before[:10_000]
    place.guard("file", before, after)
    with open(place.here / "file", "r+b", buffering=0) as file:
        first = file.read(10_000)
        file.seek(0, os.SEEK_END)
        file.write(first)
        file.seek(0)
        place.saw("here", file.read())
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def write_then_read_by_one_handle(place: Place) -> None:
    data = made(13, 200_000)
    with open(place.here / "file", "w+b", buffering=0) as file:
        file.write(data)
        place.saw("in the middle", os.pread(file.fileno(), 1000, 100_000))
        file.seek(0)
        place.saw("here", file.read())
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def write_by_mmap(place: Place) -> None:
    before = made(14, 100_000)
    (place.there / "file").write_bytes(before)
    place.guard("file", before, before[:60_000] + b"mapped" + before[60_006:])
    with open(place.here / "file", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[60_000:60_006] = b"mapped"
        mapped.flush()
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def append_to_a_new_file(place: Place) -> None:
    place.shell("echo one >> log")
    place.saw("on the server", (place.there / "log").read_bytes())


@check
def append_to_an_existing_file(place: Place) -> None:
    (place.there / "log").write_bytes(b"zero\n")
    place.guard("log", b"zero\n", b"zero\none\n", b"zero\none\ntwo\n")
    place.shell("echo one >> log; echo two >> log")
    place.saw("on the server", (place.there / "log").read_bytes())
    place.saw("here", (place.here / "log").read_bytes())


@check
def append_more_than_a_packet(place: Place) -> None:
    before, more = made(15, 100_001), made(16, 300_001)
    (place.there / "log").write_bytes(before)
    place.guard("log", before, before + more)
    with open(place.here / "log", "ab", buffering=0) as file:
        file.write(more)
    place.saw("on the server", (place.there / "log").read_bytes())


@check
def empty_and_write_again(place: Place) -> None:
    (place.there / "file").write_bytes(made(17, 60_000))
    place.shell("echo new > file")
    place.saw("on the server", (place.there / "file").read_bytes())
    place.saw("here", (place.here / "file").read_bytes())


@check
def truncate_to_less(place: Place) -> None:
    before = made(18, 60_000)
    (place.there / "file").write_bytes(before)
    place.guard("file", before, before[:1234])
    os.truncate(place.here / "file", 1234)
    place.saw("on the server", (place.there / "file").read_bytes())
    place.saw("here", (place.here / "file").read_bytes())


@check
def truncate_to_more(place: Place) -> None:
    before = made(19, 1000)
    (place.there / "file").write_bytes(before)
    place.guard("file", before, before + bytes(39_000))
    os.truncate(place.here / "file", 40_000)
    place.saw("on the server", (place.there / "file").read_bytes())
    place.saw("here", (place.here / "file").read_bytes())


@check
def truncate_an_open_file(place: Place) -> None:
    data = made(20, 50_000)
    with open(place.here / "file", "w+b", buffering=0) as file:
        file.write(data)
        os.ftruncate(file.fileno(), 20_000)
        place.saw("size", os.fstat(file.fileno()).st_size)
        file.seek(20_000)
        file.write(b"more")
    place.saw("on the server", (place.there / "file").read_bytes())
