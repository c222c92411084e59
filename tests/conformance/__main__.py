"""``python -m tests.conformance [--python PYTHON] [--contestants NAME…] [MODULE…]``.

CPython's own tests on a local directory and on mounts of one sshd. Prints each test that
does otherwise on a mount than on the directory, with what SEMANTICS says of it, and counts.
Status 1 where sftpfs fails or skips a test without such a sentence. Needs root.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from tests.bench.contestants import FILE_SYSTEMS, Server, mount
from tests.conformance.cpython import MODULES, Results, interpreter, run
from tests.conformance.explained import FAILURES, SKIPS, sentence, unquoted
from tests.harness import processes
from tests.sshd import Sshd

OURS = "sftpfs"


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance", description="CPython's tests on a mount"
    )
    parser.add_argument("--python", help="interpreter with the test package (default: found)")
    parser.add_argument(
        "--contestants", nargs="+", choices=list(FILE_SYSTEMS), default=[OURS, "sshfs"], metavar="NAME"
    )
    parser.add_argument("--option", action="append", default=[], metavar="OPT", help="extra -o option")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="of CPython's test package")
    return parser.parse_args()


def on_mount(name: str, sshd: Sshd, directory: Path, options: argparse.Namespace) -> Results:
    """What comes of the tests on a fresh mount by ``name``."""
    backing = directory / f"{name}-backing"
    backing.mkdir()
    one = mount(name, Server.at(sshd, sshd.port, directory), backing, directory / name, options.option)
    try:
        return run(options.python, one.path / "tests", options.modules)
    finally:
        one.close()


def compare(local: Results, found: Results) -> tuple[list[str], int]:
    """Lines on what differs, and how many of them nothing explains."""
    lines, unexplained = [], 0
    sides = (
        ("fails", found.failed, local.failed, FAILURES),
        ("skipped", found.skipped, local.skipped, SKIPS),
    )
    for what, here, there, table in sides:
        for name in sorted(here.keys() - there.keys()):
            said = sentence(name, table)
            unexplained += said is None
            lines.append(f"  {what}: {name}: {here[name]}\n      {said or 'NOT EXPLAINED'}")
    return lines, unexplained


def count(results: Results) -> str:
    """One line of numbers."""
    return f"{len(results.passed)} passed, {len(results.failed)} failed, {len(results.skipped)} skipped"


def main() -> int:
    """Run what was asked for."""
    options = arguments()
    options.modules = options.modules or MODULES
    options.python = options.python or interpreter()
    problems = 0
    for words in unquoted():
        problems += 1
        print(f"not in SEMANTICS.md: {words}")
    processes.mark_run()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leave no mount behind
    with tempfile.TemporaryDirectory(prefix="sftpfs-conformance-") as name:
        directory = Path(name)
        local = run(options.python, directory / "local", options.modules)
        print(f"local: {count(local)}", flush=True)
        with Sshd(directory / "sshd") as sshd:
            for contestant in options.contestants:
                found = on_mount(contestant, sshd, directory, options)
                lines, unexplained = compare(local, found)
                print(f"{contestant}: {count(found)}", *lines, sep="\n", flush=True)
                if contestant == OURS:
                    problems += unexplained
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
