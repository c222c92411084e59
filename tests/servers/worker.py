"""The process that runs the checks: what hangs in a mount hangs here, and is ended from outside."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.servers.checks import CHECKS
from tests.servers.place import Account, Place, ProgramFailed, named

UMASK = 0o022


def ask(wanted: str) -> None:
    """Have the runner do something between us and the server."""
    print(json.dumps({"wanted": wanted}), flush=True)
    sys.stdin.readline()


def account_of(name: str, here: Path, there: Path, scratch: Path) -> Account:
    """Run one check."""
    account = Account()
    place = Place(here, there, scratch, account, ask)
    shutil.rmtree(place.scratch, ignore_errors=True)
    place.scratch.mkdir()
    there.mkdir(parents=True)
    try:
        CHECKS[name](place)
    except OSError as problem:
        account.error = f"{named(problem)} {problem.filename or ''} in {_where(problem)}"
    except ProgramFailed as problem:
        account.error = f"{problem} in {_where(problem)}"
    except Exception as problem:
        account.error = f"{type(problem).__name__}: {problem} in {_where(problem)}"
    place.look_at_the_end()
    return account


def _where(problem: BaseException) -> str:
    """The line of the check that failed."""
    line, step = 0, problem.__traceback__
    while step is not None:
        if "checks" in Path(step.tb_frame.f_code.co_filename).parts:
            line = step.tb_lineno
        step = step.tb_next
    return f"line {line}"


def main() -> None:
    """Say that we are there, then a check for each line."""
    os.umask(UMASK)
    print(json.dumps({"port": 0}), flush=True)
    while line := sys.stdin.readline():
        request: dict[str, Any] = json.loads(line)
        account = account_of(
            request["check"], *(Path(request[name]) for name in ("here", "there", "scratch"))
        )
        print(json.dumps(dataclasses.asdict(account)), flush=True)


if __name__ == "__main__":
    main()
