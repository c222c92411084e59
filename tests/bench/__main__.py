"""Side by side: ``python -m tests.bench [--quick | --cpu] [--delay MS,…] [--runs N] [--only NAME…]``.

sftpfs, sshfs, tuned sshfs, ``rclone mount`` and the plain tools, over one sshd behind a delay. Every
step runs on a fresh mount with a cold page cache, contestants in random order, and verifies what it
read or wrote. Prints medians, and writes and draws them where asked. ``--cpu`` compares what the processes
of sftpfs and sshfs take of the machine, without a delay. Needs root.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench import own_commands, report
from tests.bench.contestants import FILE_SYSTEMS, Server, mount
from tests.bench.dataset import CPU, FULL, QUICK, Dataset, drop_caches
from tests.bench.report import Series
from tests.bench.results import Outcome, Status
from tests.bench.steps import Place, Workload, perform, run_command
from tests.bench.table import OURS, REFERENCE
from tests.bench.tools import TOOLS
from tests.bench.trees import clean
from tests.bench.usage import SystemCalls, counted, usage_of
from tests.bench.workloads import CPU_ORDER, ORDER, READY, all_workloads, cpu_workloads
from tests.harness import processes
from tests.harness.delay import DelayProxy
from tests.sshd import Sshd

CONTESTANTS = [*FILE_SYSTEMS, *TOOLS]
NAMES = list(dict.fromkeys([*ORDER, *CPU_ORDER]))
LIMIT = 300.0
"""Seconds for one step: the slowest worth waiting for, sshfs unpacking the tree at 20 ms, takes 190."""
QUICK_LIMIT = 60.0
QUICK_DELAY = "20"
CPU_RUNS = 5


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--quick", action="store_true", help="under 5 minutes: less data, 20 ms, two contestants"
    )
    parser.add_argument(
        "--cpu", action="store_true", help="processor time, task switches and system calls (needs strace)"
    )
    parser.add_argument("--runs", type=int, help="runs per figure (default 3; 1 with --quick)")
    parser.add_argument(
        "--delay",
        metavar="MS[,MS…]",
        help="round trips added, milliseconds (default 0,20,100; 20 with --quick)",
    )
    parser.add_argument("--rate", type=float, metavar="MB/S", help="cap of the link each way")
    parser.add_argument("--limit", type=float, metavar="S", help=f"seconds for one step (default {LIMIT:g})")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help="of " + " ".join(NAMES))
    parser.add_argument(
        "--contestants", nargs="+", choices=CONTESTANTS, metavar="NAME", help="of " + " ".join(CONTESTANTS)
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="OPT", help="extra -o option for sftpfs"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the results (needs matplotlib)")
    parser.add_argument("--keep-logs", type=Path, metavar="DIR", help="keep what the mounts log")
    options = parser.parse_args()
    options.runs = options.runs or (1 if options.quick else CPU_RUNS if options.cpu else 3)
    options.limit = options.limit or (QUICK_LIMIT if options.quick else LIMIT)
    options.contestants = options.contestants or (
        [OURS, REFERENCE] if options.quick or options.cpu else CONTESTANTS
    )
    options.ratios = f"multiples of {REFERENCE}'s" if options.cpu else f"times faster than {REFERENCE}"
    delays = options.delay or (QUICK_DELAY if options.quick else "0" if options.cpu else "0,20,100")
    options.delays = [float(word) for word in delays.split(",")]
    return options


@dataclass(slots=True)
class Bench:
    """One link to one server, and how steps are run over it."""

    server: Server
    data: Dataset
    directory: Path
    options: argparse.Namespace
    steps: int = 0

    def step(self, name: str, workload: Workload, count: bool = False) -> Outcome | None:
        """One contestant's one run; None where it does not take part. ``count``: its calls, not its time."""
        data, out = self.data, self.directory / "out"
        if name in TOOLS and workload.name not in TOOLS[name]:
            return None
        if name == own_commands.NAME:
            if workload.name not in own_commands.WORKLOADS:
                return None
            workload = replace(workload, run=own_commands.WORKLOADS[workload.name])
        self.steps += 1
        here = self.directory / "mounts" / f"{name}-{workload.name}-{self.steps}"
        place = Place(here, data.backing, out, data)
        clean(out)
        data.fresh_work()
        if workload.setup:
            workload.setup(data)
        drop_caches()
        data.warm(workload.uses)
        for program in workload.programs:
            run_command(program)
        if name in TOOLS:
            tool, server = TOOLS[name][workload.name], self.server
            return perform(lambda at: tool(server, at), place, self.options.limit, server.sshd, None)
        return self._mounted(name, workload, place, count)

    def _mounted(self, name: str, workload: Workload, place: Place, count: bool) -> Outcome:
        options = self.options.option if name in (OURS, own_commands.NAME) else ()
        begin = time.perf_counter()
        try:
            one = mount(name, self.server, self.data.backing, place.here, options)
        except (AssertionError, OSError) as problem:
            return Outcome(Status.FAILED, problem=f"not mounted: {problem}")
        ready = time.perf_counter() - begin
        outcome = Outcome(Status.FAILED)
        try:
            if workload.name == READY:
                outcome = Outcome(Status.DONE, ready, usage_of(one).figures())
            else:
                with counted(one) if count else nullcontext(SystemCalls()) as calls:
                    outcome = perform(workload.run, place, self.options.limit, self.server.sshd, one)
                if count:
                    outcome = replace(outcome, figures={"calls": float(calls.count)})
        finally:
            try:
                one.close(clean=outcome.status is not Status.LIMIT)
            except Exception as problem:
                print(f"  {name}, {workload.name}: at its end: {problem}", file=sys.stderr, flush=True)
            log = here_log(place.here)
            if self.options.keep_logs and log.exists():
                self.options.keep_logs.mkdir(parents=True, exist_ok=True)
                log.replace(self.options.keep_logs / log.name)
        return outcome


def here_log(mountpoint: Path) -> Path:
    """Where the mount's process logs."""
    return mountpoint.with_name(mountpoint.name + ".log")


def measure(bench: Bench, series: Series, workload: Workload, runs: int) -> None:
    """Every contestant's runs of one workload, in random order each turn."""
    rng = random.Random()
    left = list(series.contestants)
    for _ in range(runs):
        rng.shuffle(left)
        for name in list(left):
            outcome = bench.step(name, workload)
            if outcome is None or outcome.status is not Status.DONE:
                left.remove(name)  # what failed fails again, and a limit is long
            if outcome is None:
                continue
            if outcome.problem:
                print(f"  {name}, {workload.name}: {outcome.problem}", file=sys.stderr, flush=True)
            series.add(workload.name, workload.title, name, outcome)


def count_calls(bench: Bench, series: Series, workload: Workload) -> None:
    """One more run of each that did the workload: its system calls are a figure of its last outcome."""
    for name, outcomes in series.outcomes.get(workload.name, {}).items():
        if workload.name == READY or outcomes[-1].status is not Status.DONE:
            continue
        outcome = bench.step(name, workload, count=True)
        if outcome is not None and outcome.status is Status.DONE:
            outcomes[-1] = replace(outcomes[-1], figures={**outcomes[-1].figures, **outcome.figures})


def failures(series: Iterable[Series]) -> int:
    """How many workloads sftpfs did not finish."""
    outcomes = [one for s in series for row in s.outcomes.values() for one in row.get(OURS, [])]
    return sum(one.status is not Status.DONE for one in outcomes)


def run(options: argparse.Namespace, stack: ExitStack) -> list[Series]:
    """Everything asked for."""
    sizes = CPU if options.cpu else QUICK if options.quick else FULL
    workloads = cpu_workloads(sizes) if options.cpu else all_workloads(sizes)
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sftpfs-bench-")))
    about = {
        "command": sys.argv[1:],
        "runs": options.runs,
        "rate_MB_s": options.rate,
        "machine": report.machine(),
    }
    print(f"preparing {sizes.files} files, {sizes.entries:,} entries …", flush=True)
    data = Dataset(directory, sizes)
    sshd = stack.enter_context(Sshd(directory / "sshd"))
    everything: list[Series] = []
    for delay in options.delays:
        full = not (options.quick or options.cpu)
        series = Series(delay, options.contestants, full, {one.name: one.units for one in workloads})
        everything.append(series)
        with ExitStack() as link:
            port = sshd.port
            if delay or options.rate:
                rate = options.rate * 1e6 if options.rate else None
                port = link.enter_context(DelayProxy(sshd.port, delay / 2000, rate)).port
            bench = Bench(Server.at(sshd, port, directory), data, directory, options)
            print(f"\nround trip {delay:g} ms, {options.runs} run(s), seconds ({options.ratios})")
            print(series.usage_header() if options.cpu else series.header(), flush=True)
            for workload in workloads:
                if options.only and workload.name not in options.only:
                    continue
                measure(bench, series, workload, options.runs)
                if options.cpu:
                    count_calls(bench, series, workload)
                if workload.name in series.outcomes:
                    line = series.usage_line if options.cpu else series.line
                    print(line(workload.name), flush=True)
                if options.json:
                    report.save(options.json, about, everything)
            print(series.footer(), flush=True)
    return everything


def main() -> int:
    """Run what was asked for; status 1 when sftpfs failed a workload."""
    options = arguments()
    processes.mark_run()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leave no mount behind
    with ExitStack() as stack:
        everything = run(options, stack)
    if options.svg:
        from tests.bench.figure import draw

        draw(everything, options.svg)
    return 1 if failures(everything) else 0


if __name__ == "__main__":
    sys.exit(main())
