"""The private names of asyncssh that the worker uses are in each version that pyproject.toml allows.

If a version lacks one, every connection ends where it is used. So a name is added to ``KNOWN`` once it was
seen in the oldest version, too.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import asyncssh

ROOT = Path(__file__).parents[3]
MODULES = sorted((ROOT / "sftpfs/transport/worker").rglob("*.py"))

OLDEST = "asyncssh[bcrypt]>=2.18"

KNOWN = {
    "_auth_complete",
    "_channels",
    "_cipher",
    "_compressor",
    "_decompressor",
    "_deferred_packets",
    "_deliver_data",
    "_encoding",
    "_flush_send_buf",
    "_global_request_waiters",
    "_init_recv_window",
    "_inpbuf",
    "_iv",
    "_keepalive_count",
    "_keepalive_count_max",
    "_keepalive_interval",
    "_keepalive_timer",
    "_keepalive_timer_callback",
    "_kex",
    "_kex_complete",
    "_key",
    "_loop",
    "_make_keepalive_request",
    "_packet",
    "_packet_handlers",
    "_process_global_response",
    "_recv_buf",
    "_recv_chan",
    "_recv_data",
    "_recv_encryption",
    "_recv_handler",
    "_recv_packet",
    "_recv_paused",
    "_recv_pkthdr",
    "_recv_pktsize",
    "_recv_seq",
    "_recv_state",
    "_recv_version",
    "_recv_window",
    "_rekey_bytes",
    "_rekey_bytes_sent",
    "_rekey_seconds",
    "_rekey_time",
    "_request_queue",
    "_request_waiters",
    "_reset_keepalive_timer",
    "_send_blocksize",
    "_send_buf",
    "_send_chan",
    "_send_enchdrlen",
    "_send_encryption",
    "_send_pktsize",
    "_send_seq",
    "_send_state",
    "_send_window",
    "_transport",
}
"""In asyncssh 2.18.0."""


def used() -> Iterator[str]:
    """The private names that are taken of anything but ``self`` and ``os``."""
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr[1] != "_":
                owner = node.value
                if not (isinstance(owner, ast.Name) and owner.id in ("self", "os")):
                    yield node.attr


def test_no_private_name_is_one_that_a_version_lacks() -> None:
    assert set(used()) == KNOWN


def test_the_installed_version_has_them() -> None:
    package = Path(asyncssh.__file__).parent
    text = "\n".join(path.read_text() for path in package.rglob("*.py"))
    assert {name for name in KNOWN if name not in text} == set()


def test_the_oldest_version_is_the_one_that_was_looked_at() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert OLDEST in project["dependencies"]
