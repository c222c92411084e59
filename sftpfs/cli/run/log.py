"""``sftpfs log MNT``."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from typing import Any

from sftpfs.cli.tools.human_format import latency, plural
from sftpfs.control.client import connect_to
from sftpfs.host.daemon import to_stderr
from sftpfs.host.logs import printable


def run(given: Namespace) -> int:
    """Print until interrupted or the mount ends; with a level, change what is logged and return."""
    client, _ = connect_to(given.mnt)
    if given.level:
        with client:
            client.ask("log_level", level=given.level)
        return 0
    try:
        with client:
            for message in client.stream("log", trace=given.trace):
                if message.get("dropped"):
                    to_stderr(f"{plural(message['dropped'], 'line')} left out, they came too fast")
                for line in message.get("lines", ()):
                    sys.stdout.write(printable(shown(line)) + "\n")
                sys.stdout.flush()
    except KeyboardInterrupt:
        pass  # how a person ends it
    except BrokenPipeError:
        sys.stdout = None  # | head: nobody reads any more
    return 0


def shown(line: list[Any]) -> str:
    """One line of the log, or one operation."""
    at, kind, *rest = line
    when = time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1e6):06}"
    if kind == "log":
        level, text = rest
        return f"{when} {level}: {text}"
    name, path, detail, outcome, seconds = rest
    about = f"{path} ({detail})" if detail else path
    return f"{when} {name:<10} {about} = {outcome}  {latency(seconds)}"
