"""The server's side changes while we look, and connections end."""

from __future__ import annotations

import os
import subprocess
import threading
import time

from tests.servers.checks.registry import check, content
from tests.servers.place import Place

LIMIT = 40.0
"""Seconds until what others changed is seen: more than any cache's default."""

STEP = 0.1


def _until(place: Place, label: str, look: object, wanted: object) -> None:
    """Say what ``look`` gives: ``wanted``, or whatever it is at the limit."""
    assert callable(look)
    end = time.monotonic() + LIMIT
    while (found := look()) != wanted and time.monotonic() < end:
        time.sleep(STEP)
    place.saw(label, found)


@check
def follow_a_log(place: Place) -> None:
    """tail -f of what grows on the server."""
    (place.there / "log").write_bytes(b"begin\n")
    with subprocess.Popen(["tail", "-n", "+1", "-f", place.here / "log"], stdout=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.extend(iter(tail.stdout.readline, b"")), daemon=True)  # type: ignore[union-attr]
        reader.start()
        for number in range(2):
            with open(place.there / "log", "ab") as log:
                log.write(b"line %d\n" % number)
            _until(place, f"line {number}", lambda number=number: len(got) >= number + 2, True)  # type: ignore[misc]
        tail.kill()
    reader.join()
    place.saw("all", b"".join(got))


@check
def read_what_the_server_appended(place: Place) -> None:
    first, more = content(1, 5000), content(2, 4000)
    (place.there / "file").write_bytes(first)
    place.saw("first", (place.here / "file").read_bytes())
    with open(place.there / "file", "ab") as file:
        file.write(more)
    _until(place, "then", lambda: (place.here / "file").read_bytes() == first + more, True)


@check
def read_what_the_server_replaced(place: Place) -> None:
    first, second = content(3, 5000), content(4, 5000)
    (place.there / "file").write_bytes(first)
    os.utime(place.there / "file", (1_000_000_000, 1_000_000_000))
    place.saw("first", (place.here / "file").read_bytes())
    (place.there / "next").write_bytes(second)
    os.replace(place.there / "next", place.there / "file")
    _until(place, "then", lambda: (place.here / "file").read_bytes() == second, True)


@check
def see_what_the_server_made(place: Place) -> None:
    place.saw("before", os.listdir(place.here))
    (place.there / "new").write_bytes(b"1")
    _until(place, "listed", lambda: os.listdir(place.here), ["new"])


@check
def go_on_after_a_cut(place: Place) -> None:
    (place.there / "file").write_bytes(content(5, 50_000))
    place.saw("before", (place.here / "file").read_bytes())
    place.cut()
    (place.here / "other").write_bytes(b"after")
    place.saw("on the server", (place.there / "other").read_bytes())
    place.saw("listed", sorted(os.listdir(place.here)))


@check
def read_on_after_a_cut(place: Place) -> None:
    data = content(6, 3_000_000)
    (place.there / "file").write_bytes(data)
    with open(place.here / "file", "rb", buffering=0) as file:
        first = file.read(4096)
        place.cut()
        rest = b"".join(iter(lambda: file.read(100_000), b""))
        place.saw("here", first + rest)


@check
def write_on_after_a_cut(place: Place) -> None:
    data = content(7, 300_000)
    with open(place.here / "file", "wb", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())
        place.cut()
        file.write(b"after")
    place.saw("on the server", (place.there / "file").read_bytes())


@check
def cut_with_writes_under_way(place: Place) -> None:
    data = content(8, 400_000)
    with open(place.here / "file", "wb", buffering=0) as file:
        file.write(data[:200_000])
        place.cut()
        rest = memoryview(data)[200_000:]
        while rest:  # of a part that is refused behind one that was taken the count alone tells
            rest = rest[file.write(rest) :]
    place.saw("on the server", (place.there / "file").read_bytes())
