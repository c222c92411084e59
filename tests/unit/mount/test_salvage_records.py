"""No record in the store of losses breaks what lists it: it is a loss, or passed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sftpfs.mount.salvage_store import all_saved
from tests.harness.corpus import tried_first

KEYS = [
    "server",
    "root",
    "path",
    "mountpoint",
    "ranges",
    "newer",
    "left",
    "end",
    "appended",
    "reason",
    "errno",
    "time",
    "until",
]
VALUES = (
    st.none()
    | st.integers()
    | st.text(max_size=5)
    | st.lists(st.integers() | st.text(max_size=3), max_size=3)
)
RECORDS = st.dictionaries(st.sampled_from(KEYS), VALUES | st.lists(VALUES, max_size=3))


def text(record: Any) -> bytes:
    return json.dumps(record).encode()


@tried_first(__file__, "loss_records")
@given(RECORDS.map(text) | st.binary(max_size=50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_any_record_is_a_loss_or_passed_over(tmp_path: Path, record: bytes) -> None:
    (tmp_path / "loss").write_bytes(b"bytes")
    (tmp_path / "loss.json").write_bytes(record)
    for found in all_saved(str(tmp_path)):
        assert found.size == sum(end - start for start, end in found.ranges)
        assert found.order and found.missing is not None
