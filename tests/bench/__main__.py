"""Side by side: ``python -m tests.bench [--quick] [--delay MS] [--runs N] [--only NAME…]``.

Mounts one sshd's directory with sshfs, sftpfs and rclone, each with its defaults,
runs every workload on a fresh mount with a cold page cache, the contestants in turn
so that a busy moment hits all, and prints medians with the ratio to sshfs. Needs root.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench.contestants import CONTESTANTS, Server, mount
from tests.bench.workloads import FULL, QUICK, WORKLOADS, Sizes, Workload, drop_caches, prepare
from tests.harness import processes
from tests.harness.delay import DelayProxy
from tests.sshd import Sshd

REFERENCE = "sshfs"

Results = dict[str, list[float]]


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--quick", action="store_true", help="an eighth of the data, one run")
    parser.add_argument("--runs", type=int, help="runs per figure (default 3; 1 with --quick)")
    parser.add_argument(
        "--delay", type=float, default=0.0, metavar="MS", help="round trip added, milliseconds"
    )
    parser.add_argument("--rate", type=float, metavar="MB/S", help="cap of the link each way")
    parser.add_argument("--only", nargs="+", choices=[w.name for w in WORKLOADS], help="these workloads")
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument(
        "--option", action="append", default=[], metavar="OPT", help="extra -o option for sftpfs"
    )
    return parser.parse_args()


def measure(
    workload: Workload,
    names: list[str],
    server: Server,
    directory: Path,
    sizes: Sizes,
    runs: int,
    options: list[str],
) -> Results:
    """Every contestant's figures."""
    results: Results = {name: [] for name in names}
    for turn in range(runs if workload.repeats else 1):
        for name in names:
            drop_caches()
            place = directory / f"{name}-{workload.name.split()[0]}-{turn}"
            try:
                with mount(
                    name, server, directory / "backing", place, options if name == "sftpfs" else ()
                ) as one:
                    results[name].append(workload.run(one, sizes))
            except (AssertionError, OSError, subprocess.SubprocessError) as problem:
                print(f"  {name}, {workload.name}: {problem}", file=sys.stderr)
    return results


def line(workload: Workload, results: Results) -> str:
    """One line of the table: medians, and how many times better than the reference."""
    reference = statistics.median(results.get(REFERENCE) or [0.0])
    cells = [f"{workload.name + ' (' + workload.unit + ')':<32}"]
    for name, values in results.items():
        if not values:
            cells.append(f"{name} failed".rjust(24))
            continue
        median = statistics.median(values)
        better = median / reference if workload.more_is_better and reference else reference / median
        ratio = f"{better:5.2f}×" if name != REFERENCE and reference else " " * 6
        spread = f"[{min(values):.4g}–{max(values):.4g}]" if len(values) > 1 else ""
        cells.append(f"{median:8.4g} {ratio} {spread:<14}".rjust(24))
    return " ".join(cells)


def main() -> int:
    """Run what was asked for; status 1 when sftpfs failed a workload."""
    options = arguments()
    sizes = QUICK if options.quick else FULL
    runs = options.runs or (1 if options.quick else 3)
    processes.mark_run()
    failed = False
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sftpfs-bench-")))
        (directory / "backing").mkdir()
        prepare(directory / "backing", sizes)
        sshd = stack.enter_context(Sshd(directory / "sshd"))
        port = sshd.port
        if options.delay or options.rate:
            rate = options.rate * 1e6 if options.rate else None
            port = stack.enter_context(DelayProxy(sshd.port, options.delay / 2000, rate)).port
        server = Server.at(sshd, port, directory)
        print(f"round trip +{options.delay:g} ms, {runs} run(s), {sizes.sequential >> 20} MiB sequential")
        print(f"medians [lowest–highest]; ×: times better than {REFERENCE}")
        print(" " * 32, *(name.rjust(9).ljust(30) for name in options.contestants))
        for workload in WORKLOADS:
            if options.only and workload.name not in options.only:
                continue
            results = measure(workload, options.contestants, server, directory, sizes, runs, options.option)
            print(line(workload, results), flush=True)
            failed |= "sftpfs" in results and not results["sftpfs"]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
