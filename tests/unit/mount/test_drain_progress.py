"""What is told of an end that takes long."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from sftpfs.mount.drain_progress import LOG_INTERVAL, PATIENCE, line, report

MIB = 1 << 20


def test_the_line() -> None:
    assert line(12 * MIB, 3 * MIB + MIB // 2, "host") == "writing 12.0 MiB to host, 3.5 MiB left"
    assert line(3000, 1, "host") == "writing 3 KiB to host, 1 KiB left"
    assert line(MIB, 0, "host") == "writing 1.0 MiB to host, 0 KiB left"


@pytest.mark.parametrize(
    ("seconds", "lines"), [(PATIENCE / 2, 0), (PATIENCE + 0.1, 1), (PATIENCE + LOG_INTERVAL + 0.1, 2)]
)
def test_the_log_is_told_now_and_then(caplog: pytest.LogCaptureFixture, seconds: float, lines: int) -> None:
    caplog.set_level("INFO")

    async def inside() -> None:
        with trio.move_on_after(seconds):
            await report(lambda: MIB, "host", terminal=False)

    trio.run(inside, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [record.getMessage() for record in caplog.records] == [line(MIB, MIB, "host")] * lines
