"""Many runs, and the shrinking of one that failed."""

from __future__ import annotations

import re
import secrets
import sys
import time
from argparse import Namespace

from tests.simulation.scenario import Scenario, Step, make
from tests.simulation.world import Result, Simulation


def run(scenario: Scenario, verbose: bool = False) -> Result:
    """One run."""
    return Simulation(scenario, verbose).run()


def kind(lie: str) -> str:
    """What stays of a finding when steps are left out: its words without names and numbers."""
    return re.sub(r"[0-9]+|b?'[^']*'|\([^)]*\)|[A-Za-z0-9_/~.]*/[A-Za-z0-9_/~.]*|\[[^]]*\]", "", lie)[:60]


def shrink(scenario: Scenario, lie: str, seconds: float = 60.0) -> tuple[Scenario, str]:
    """Leave out steps as long as something like ``lie`` is found: delta debugging (Zeller), then one by
    one."""
    end = time.perf_counter() + seconds
    wanted = kind(lie)
    best, words = scenario, lie

    def fails(steps: list[Step]) -> bool:
        nonlocal best, words
        for schedule in (scenario.schedule, 1, 2):
            trial = Scenario(
                scenario.seed, scenario.theme, scenario.world, scenario.setup, tuple(steps), schedule
            )
            found = run(trial).lie
            if found is not None and kind(found) == wanted:
                best, words = trial, found
                return True
        return False

    parts = 2
    while len(best.steps) > 1 and time.perf_counter() < end:
        steps = list(best.steps)
        size = max(1, len(steps) // parts)
        for begin in range(0, len(steps), size):
            if time.perf_counter() > end:
                break
            if fails(steps[:begin] + steps[begin + size :]):
                parts = max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(len(steps), parts * 2)
    return best, words


def single(arguments: Namespace) -> int:
    """One seed."""
    scenario = make(arguments.seed, arguments.steps, arguments.theme)
    begin = time.perf_counter()
    result = run(scenario, arguments.verbose)
    taken = time.perf_counter() - begin
    print("\n".join(result.trace))
    print(
        f"seed {arguments.seed} ({scenario.theme}): {result.calls} calls, "
        f"{result.fuse_requests} FUSE requests, {result.requests} SFTP requests, "
        f"{result.seconds:.0f} virtual seconds in {taken:.2f} s"
    )
    if result.lie is None:
        return 0
    print(f"FOUND: {result.lie}")
    if arguments.shrink:
        report(scenario, result.lie)
    return 1


def report(scenario: Scenario, lie: str) -> None:
    """The shrunk scenario, for a person."""
    best, words = shrink(scenario, lie)
    print(f"shrunk to {len(best.steps)} steps (schedule {best.schedule}): {words}")
    print(best)
    sys.stdout.flush()


def explore(arguments: Namespace) -> int:
    """New seeds for some minutes, or ``--runs`` of them from ``--from``."""
    first = arguments.first if arguments.first is not None else secrets.randbelow(1 << 30)
    print(f"seeds from {first}")
    begin = time.perf_counter()
    calls = runs = 0
    found: dict[str, list[int]] = {}
    seed = first
    while (arguments.runs and runs < arguments.runs) or time.perf_counter() - begin < arguments.minutes * 60:
        scenario = make(seed, arguments.steps, arguments.theme)
        result = run(scenario)
        runs += 1
        calls += result.calls
        if result.lie is not None:
            words = f"{scenario.theme}: {kind(result.lie)}"
            if words not in found:
                print(
                    f"[{time.perf_counter() - begin:.1f} s] seed {seed} ({scenario.theme}): {result.lie}",
                    flush=True,
                )
                if arguments.shrink:
                    report(scenario, result.lie)
            found.setdefault(words, []).append(seed)
            if not arguments.keep_going:
                break
        seed += 1
    taken = time.perf_counter() - begin
    print(f"{runs} runs, {calls} calls in {taken:.1f} s ({calls / taken:.0f} a second)")
    for words, seeds in sorted(found.items(), key=lambda one: -len(one[1])):
        print(f"{len(seeds):5} × {words}  seeds {seeds[:4]}")
    return 1 if found else 0
