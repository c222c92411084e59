"""Open files: several at once, what they show of each other, and what lasts after close and fsync."""

from __future__ import annotations

import os
import threading
import time

from tests.servers.checks.registry import check, content
from tests.servers.place import Place


@check
def size_after_a_write(place: Place) -> None:
    for number in range(8):
        place.saw(
            "size",
            place.shell(f"head -c 5000 /dev/zero > s{number}; stat -c %s s{number}; wc -c < s{number}"),
        )


@check
def size_of_an_open_file(place: Place) -> None:
    with open(place.here / "file", "wb", buffering=0) as file:
        for number in range(1, 6):
            file.write(content(number, 10_000))
            place.saw("by handle", os.fstat(file.fileno()).st_size)
            place.saw("by name", os.stat(place.here / "file").st_size)


@check
def fsync_then_read_elsewhere(place: Place) -> None:
    for number in range(10):
        data = content(number, 3000)
        with open(place.here / f"f{number}", "wb", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())
            place.saw("on the server", (place.there / f"f{number}").read_bytes())
            place.saw("by another handle", (place.here / f"f{number}").read_bytes())


@check
def close_then_read(place: Place) -> None:
    for number in range(20):
        data = content(number, 2000 + number)
        (place.here / f"f{number}").write_bytes(data)
        place.saw("here", (place.here / f"f{number}").read_bytes())
        place.saw("on the server", (place.there / f"f{number}").read_bytes())


@check
def rewrite_again_and_again(place: Place) -> None:
    for number in range(10):
        data = content(number, 5000 - 100 * number)
        (place.here / "file").write_bytes(data)
        place.saw("here", (place.here / "file").read_bytes())
        place.saw("on the server", (place.there / "file").read_bytes())


@check
def four_files_open_at_once(place: Place) -> None:
    names = "abcd"
    for name in names:
        (place.there / name).write_bytes(content(ord(name), 20_000))
    files = [open(place.here / name, "rb", buffering=0) for name in names]  # noqa: SIM115
    try:
        for name, file in zip(names, files, strict=True):
            place.saw(name, file.read())
    finally:
        for file in files:
            file.close()


@check
def four_files_written_at_once(place: Place) -> None:
    names = "abcd"
    files = [open(place.here / name, "wb", buffering=0) for name in names]  # noqa: SIM115
    try:
        for step in range(4):
            for name, file in zip(names, files, strict=True):
                file.write(content(ord(name) + step, 9_000))
    finally:
        for file in files:
            file.close()
    for name in names:
        place.saw(name, (place.there / name).read_bytes())


@check
def two_handles_write_parts(place: Place) -> None:
    before = bytes(100_000)
    (place.there / "file").write_bytes(before)
    with (
        open(place.here / "file", "r+b", buffering=0) as one,
        open(place.here / "file", "r+b", buffering=0) as two,
    ):
        for at in range(0, 100_000, 20_000):
            os.pwrite(one.fileno(), content(at, 10_000), at)
            os.pwrite(two.fileno(), content(at + 1, 10_000), at + 10_000)
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def two_handles_append(place: Place) -> None:
    with (
        open(place.here / "log", "ab", buffering=0) as one,
        open(place.here / "log", "ab", buffering=0) as two,
    ):
        for number in range(10):
            one.write(b"one %d\n" % number)
            two.write(b"two %d\n" % number)
    place.saw("on the server", (place.there / "log").read_bytes())


@check
def read_beside_a_writer(place: Place) -> None:
    with (
        open(place.here / "file", "wb", buffering=0) as writer,
        open(place.here / "file", "rb", buffering=0) as reader,
    ):
        for number in range(5):
            writer.write(content(number, 7_000))
            place.saw(f"after write {number}", reader.read(10_000))
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def many_threads_write_files(place: Place) -> None:
    failed: list[OSError] = []

    def write(number: int) -> None:
        try:
            for turn in range(5):
                (place.here / f"{number}-{turn}").write_bytes(content(number * 10 + turn, 30_000))
        except OSError as problem:
            failed.append(problem)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    for number in range(6):
        for turn in range(5):
            place.saw(f"{number}-{turn}", (place.there / f"{number}-{turn}").read_bytes())


@check
def one_of_two_gets_the_lock(place: Place) -> None:
    """A lock file is made by one program only."""
    for turn in range(5):
        won: list[int] = []
        others: list[OSError] = []

        def take(number: int, turn: int = turn, won: list[int] = won, others: list[OSError] = others) -> None:
            try:
                os.close(os.open(place.here / f"lock{turn}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                won.append(number)
            except FileExistsError:
                pass
            except OSError as problem:
                others.append(problem)

        threads = [threading.Thread(target=take, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if others:
            raise others[0]
        place.saw("holders", len(won))


@check
def exclusive_creation(place: Place) -> None:
    place.tried("new", lambda: os.close(os.open(place.here / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY)))
    place.tried("again", lambda: os.close(os.open(place.here / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY)))


@check
def exclusive_creation_of_what_others_made(place: Place) -> None:
    before = content(1, 5000)
    (place.there / "old").write_bytes(before)
    place.guard("old", before)
    place.tried("old", lambda: os.close(os.open(place.here / "old", os.O_CREAT | os.O_EXCL | os.O_WRONLY)))
    place.saw("on the server", (place.there / "old").read_bytes())


@check
def remove_an_open_file(place: Place) -> None:
    data = content(2, 40_000)
    with open(place.here / "file", "w+b", buffering=0) as file:
        file.write(data)
        os.unlink(place.here / "file")
        place.saw("name here", (place.here / "file").exists())
        file.seek(0)
        place.saw("content", file.read())
        file.write(b"more")
        place.saw("size", os.fstat(file.fileno()).st_size)
    place.saw("left on the server", sorted(os.listdir(place.there)))


@check
def remove_a_file_open_to_read(place: Place) -> None:
    (place.there / "file").write_bytes(content(3, 400_000))
    with open(place.here / "file", "rb", buffering=0) as file:
        first = file.read(1000)
        os.unlink(place.here / "file")
        place.saw("content", first + b"".join(iter(lambda: file.read(100_000), b"")))
    place.saw("left on the server", sorted(os.listdir(place.there)))


@check
def rename_an_open_file(place: Place) -> None:
    with open(place.here / "old", "wb", buffering=0) as file:
        file.write(b"before ")
        os.rename(place.here / "old", place.here / "new")
        file.write(b"after")
    place.saw("on the server", (place.there / "new").read_bytes())
    place.saw("names", sorted(os.listdir(place.there)))


@check
def replace_an_open_file(place: Place) -> None:
    """Who has the old one open goes on with it."""
    (place.here / "file").write_bytes(content(4, 30_000))
    (place.here / "next").write_bytes(content(5, 20_000))
    with open(place.here / "file", "rb", buffering=0) as file:
        os.replace(place.here / "next", place.here / "file")
        place.saw("by name", (place.here / "file").read_bytes())
        found: list[bytes] = []
        if place.tried("old one", lambda: found.append(file.read(40_000))):
            place.saw("by handle", found[0])


@check
def times_of_a_file_written_to(place: Place) -> None:
    (place.there / "file").write_bytes(b"old")
    os.utime(place.there / "file", (1_000_000_000, 1_000_000_000))
    place.saw("before", os.stat(place.here / "file").st_mtime)
    with open(place.here / "file", "ab") as file:
        file.write(b" and new")
    age = time.time() - os.stat(place.here / "file").st_mtime
    place.saw("a minute old at most", -60 < age < 60)
    place.saw("on the server", -60 < time.time() - os.stat(place.there / "file").st_mtime < 60)
