"""A helper in a process of its own, spoken to in JSON lines over its stdin and stdout."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from tests.harness import processes, time_limit
from tests.harness.mounts import REPOSITORY
from tests.harness.namespaces import apart

REPLY_LIMIT = 30.0


class HelperProcess:
    """Runs ``python -m MODULE`` and exchanges one line each way per command.

    Its first line must hold ``port``, on 127.0.0.1.
    """

    def __init__(self, module: str, *arguments: str, private_mounts: bool = False) -> None:
        self.process = subprocess.Popen(
            [
                *(apart() if private_mounts else []),
                *("setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", module, *arguments),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            start_new_session=True,
        )
        time_limit.on_timeout(self.process.pid, self.kill)
        try:
            self.port: int = self._reply()["port"]
        except BaseException:
            self.close()
            raise

    def _reply(self) -> dict[str, Any]:
        pipe = self.process.stdout
        assert pipe is not None
        readable, _, _ = select.select([pipe], [], [], REPLY_LIMIT)
        line = pipe.readline() if readable else b""
        assert line, f"no answer from the helper (status {self.process.poll()})"
        reply: dict[str, Any] = json.loads(line)
        return reply

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """Send one command and wait for its reply."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
        self.process.stdin.flush()
        return self._reply()

    def kill(self) -> None:
        """SIGKILL for the helper and its children."""
        processes.kill_tree(self.process.pid)

    def close(self) -> None:
        """End it and everything it started."""
        time_limit.forget(self.process.pid)
        if self.process.poll() is None:
            family = processes.descendants([self.process.pid], processes.table())
            self.kill()
            self.process.wait(10)
            left = processes.wait_gone(family, 10)
            assert not left, f"left behind: {[processes.describe(pid) for pid in left]}"
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
