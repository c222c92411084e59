"""No file of ssh_config(5) breaks the reader: it is taken, or refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sftpfs.errors import MountError
from sftpfs.transport.ssh_config import reader
from sftpfs.transport.ssh_config.keywords import HANDLED
from sftpfs.transport.ssh_config.reader import HostConfig
from sftpfs.transport.worker.hop_settings import Defaults, settings_for
from tests.harness.corpus import tried_first

KEYWORDS = st.sampled_from(["Host", "Match", *sorted(HANDLED)])
VALUES = st.text(max_size=20) | st.sampled_from(
    [
        "*",
        "!a",
        "host a",
        "final all",
        "exec true",
        'user "a b',
        "%h",
        "%",
        "~/x",
        "${HOME",
        "-1",
        "1h30",
        "a@b:22",
        "[::1]:22",
    ]
)
LINES = st.text(max_size=40) | st.builds(
    lambda keyword, between, value: keyword + between + value,
    KEYWORDS,
    st.sampled_from([" ", "=", ""]),
    VALUES,
)


@pytest.fixture(autouse=True)
def nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``Match exec`` would run what chance has written."""
    monkeypatch.setattr(reader, "run_condition", lambda command: "test" in command)
    yield


@tried_first(__file__, "ssh_config", lambda text: [(text.decode(errors="surrogateescape").split("\n"),)])
@given(st.lists(LINES, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_any_file_is_taken_or_refused_in_words(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "config"
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    config = HostConfig("a", sftp_server="sftp")
    try:
        config.add_files(str(path))
        settings_for(config, Defaults(5.0, 0.0, 1, False))
    except MountError as refused:
        assert refused.message
