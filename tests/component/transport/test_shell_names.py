"""A worker that is given names with a shell's words in them runs none of those."""

from __future__ import annotations

from pathlib import Path

import pytest

from sftpfs.config import Endpoint, TransportConfig
from sftpfs.errors import Failure
from tests.transport_helpers import failure_of

CONFIG = """
Match exec "echo %h %n %r; touch MARK"
  Port 22
Match all
  ProxyCommand 3>&1; echo %h %n %r
"""


def test_what_is_asked_of_the_worker_is_run(tmp_path: Path) -> None:
    """What the other one rests upon."""
    path, mark = tmp_path / "config", tmp_path / "mark"
    path.write_text(CONFIG.replace("MARK", str(mark)))
    error = failure_of(TransportConfig(ssh_config_file=str(path)), Endpoint("host", user="joe"))
    # The words the command says are met, or its end is: whichever the worker sees first.
    assert error.failure in (Failure.UNREACHABLE, Failure.PROTOCOL) and mark.exists()


@pytest.mark.parametrize("place", ["host", "user", "jump", "jump user"])
def test_words_in_names_are_not_run(tmp_path: Path, place: str) -> None:
    path, mark = tmp_path / "config", tmp_path / "mark"
    words = f"`>{mark}`"
    jump = {"jump": f'ProxyJump "{words}"', "jump user": f'ProxyJump "{words}@gate"'}.get(place, "")
    path.write_text(jump + CONFIG.replace("; touch MARK", ""))
    endpoint = Endpoint(words if place == "host" else "host", user=words if place == "user" else "joe")
    error = failure_of(TransportConfig(ssh_config_file=str(path)), endpoint)
    assert not mark.exists()
    assert error.failure is Failure.CONFIGURATION and "contains invalid characters" in error.message
