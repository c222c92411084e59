"""The plain tools people use instead of a mount, for the workloads each can do."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.contestants import Server
from tests.bench.dataset import write_blocks
from tests.bench.steps import Measured, Place, Stopwatch, run_command
from tests.bench.streams import check_file
from tests.bench.trees import check_tree

Tool = Callable[[Server, Place], Measured]


def _ssh(server: Server, command: str) -> list[str]:
    return ["ssh", *server.ssh_words(), server.user_and_host, command]


def _piped(source: Sequence[str | Path], sink: Sequence[str | Path]) -> Measured:
    """``source | sink``."""
    with Stopwatch() as watch, subprocess.Popen(source, stdout=subprocess.PIPE) as sender:
        subprocess.run(sink, stdin=sender.stdout, check=True)
    assert sender.returncode == 0, f"{source[0]} ended with {sender.returncode}"
    return Measured(watch.seconds)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def cat_out(server: Server, place: Place) -> Measured:
    """``ssh cat file > file``."""
    target = place.out / "big"
    with Stopwatch() as watch, open(target, "wb") as file:
        command = _ssh(server, f"cat {_quoted(place.there / 'big')}")
        subprocess.run(command, stdout=file, stdin=subprocess.DEVNULL, check=True)
    check_file(target, place.data.sizes.read)
    target.unlink()
    return Measured(watch.seconds)


def cat_in(server: Server, place: Place) -> Measured:
    """``ssh 'cat > file && sync file' < file``."""
    size, source = place.data.sizes.write, place.out / "source"
    write_blocks(source, size)
    target = _quoted(place.written / "written")
    with open(source, "rb") as file, Stopwatch() as watch:
        subprocess.run(_ssh(server, f"cat > {target} && sync {target}"), stdin=file, check=True)
    check_file(place.written / "written", size)
    source.unlink()
    return Measured(watch.seconds)


def tar_out(server: Server, place: Place) -> Measured:
    """``ssh tar c | tar x``."""
    measured = _piped(
        _ssh(server, f"tar cf - -C {_quoted(place.there)} tree"), ["tar", "xf", "-", "-C", place.out]
    )
    check_tree(place, place.out / "tree", exact=True)
    return measured


def tar_in(server: Server, place: Place) -> Measured:
    """``tar c | ssh tar x``."""
    sink = _ssh(server, f"tar xf - -C {_quoted(place.written)}")
    measured = _piped(["tar", "cf", "-", "-C", place.data.local, "tree"], sink)
    check_tree(place, place.written / "tree", exact=True)
    return measured


def _copied(words: list[str | Path], place: Place, result: Path) -> Measured:
    with Stopwatch() as watch:
        run_command(words)
    check_tree(place, result)
    return Measured(watch.seconds)


def scp_out(server: Server, place: Place) -> Measured:
    """``scp -r`` from the server."""
    source = f"{server.user_and_host}:{place.there / 'tree'}"
    return _copied(["scp", "-q", *server.ssh_words(), "-r", source, place.out], place, place.out / "tree")


def scp_in(server: Server, place: Place) -> Measured:
    """``scp -r`` to the server."""
    target = f"{server.user_and_host}:{place.written}"
    words = ["scp", "-q", *server.ssh_words(), "-r", place.data.local / "tree", target]
    return _copied(words, place, place.written / "tree")


def _rsync(server: Server) -> list[str | Path]:
    return ["rsync", "-a", "-e", shlex.join(["ssh", *server.ssh_words()])]


def rsync_out(server: Server, place: Place) -> Measured:
    """``rsync -a`` from the server."""
    source = f"{server.user_and_host}:{place.there / 'tree'}"
    return _copied([*_rsync(server), source, place.out], place, place.out / "tree")


def rsync_in(server: Server, place: Place) -> Measured:
    """``rsync -a`` to the server."""
    target = f"{server.user_and_host}:{place.written}"
    return _copied([*_rsync(server), place.data.local / "tree", target], place, place.written / "tree")


def remove(server: Server, place: Place) -> Measured:
    """``ssh rm -rf``."""
    with Stopwatch() as watch:
        run_command(_ssh(server, f"rm -rf {_quoted(place.written / 'tree')}"))
    assert not (place.written / "tree").exists(), "the tree is still there"
    return Measured(watch.seconds)


TOOLS: dict[str, dict[str, Tool]] = {
    "ssh-cat": {"read": cat_out, "write": cat_in},
    "tar-ssh": {"cp-out": tar_out, "untar": tar_in, "cp-in": tar_in},
    "rsync": {"cp-out": rsync_out, "cp-in": rsync_in},
    "ssh-rm": {"rm": remove},
    "scp": {"cp-out": scp_out, "cp-in": scp_in},
}
"""By tool and workload."""
