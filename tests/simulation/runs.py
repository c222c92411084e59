"""Many runs, and the shrinking of one that failed."""

from __future__ import annotations

import gc
import re
import secrets
import sys
import time
from argparse import Namespace
from dataclasses import replace

from tests.simulation.corpus import scenarios
from tests.simulation.scenario import Scenario, Step, World, make
from tests.simulation.single import Simulated, as_json, program
from tests.simulation.world import Result, Simulation


def run(scenario: Scenario, verbose: bool = False) -> Result:
    """One run."""
    return Simulation(scenario, verbose).run()


def kind(lie: str) -> str:
    """What stays of a finding when steps are left out: its words without names and numbers."""
    return re.sub(r"[0-9]+|b?'[^']*'|\([^)]*\)|[A-Za-z0-9_/~.]*/[A-Za-z0-9_/~.]*|\[[^]]*\]", "", lie)[:60]


COLLECTED = 10
"""Runs after which what they left is freed: the cycles are few (``virtual.COLLECTING``), but hold the content
of every version of a file. Bulk alone came to 2 GiB in fifty runs."""

MANY = 24
"""Steps above which one order of tasks is tried only: most of a long scenario has no part in what is
found."""


class Shrinker:
    """Leaves out steps as long as something like ``lie`` is found: delta debugging (Zeller), then pauses."""

    def __init__(self, scenario: Scenario, lie: str, seconds: float) -> None:
        self.best = scenario
        self.words = lie
        self._wanted = kind(lie)
        self._end = time.perf_counter() + seconds

    @property
    def over(self) -> bool:
        """There is no more time."""
        return time.perf_counter() > self._end

    def fails(self, steps: list[Step]) -> bool:
        """Whether it is found with ``steps``, which are the best then."""
        schedules = (self.best.schedule,) if len(steps) > MANY else (self.best.schedule, 1, 2, 3)
        for schedule in schedules:
            trial = replace(self.best, steps=tuple(steps), schedule=schedule)
            result = run(trial)
            if result.lie is not None and kind(result.lie) == self._wanted:
                self.best, self.words = trial, result.lie
                begun = [step for step in steps if id(step) in result.begun]
                if len(begun) < len(steps):
                    self.fails(begun)
                return True
        return False

    def shrink(self) -> None:
        """Until nothing can be left out or the time is over."""
        self.fails(list(self.best.steps))
        parts = 2
        while len(self.best.steps) > 1 and not self.over:
            steps = list(self.best.steps)
            size = max(1, len(steps) // parts)
            if self._without_some(steps, size):
                parts = max(parts - 1, 2)
            elif size == 1:
                break
            else:
                parts = min(len(steps), parts * 2)
        self._calm()

    def _without_some(self, steps: list[Step], size: int) -> bool:
        for begin in reversed(range(0, len(steps), size)):
            if not self.over and self.fails(steps[:begin] + steps[begin + size :]):
                return True
        return False

    def _calm(self) -> None:
        """Pauses that do not matter go."""
        for index in range(len(self.best.steps)):
            if self.over or index >= len(self.best.steps):
                return
            steps = list(self.best.steps)
            if steps[index].pause:
                steps[index] = replace(steps[index], pause=0.0)
                self.fails(steps)


def shrink(scenario: Scenario, lie: str, seconds: float = 60.0) -> tuple[Scenario, str]:
    """The least of ``scenario`` that still comes to something like ``lie``, and to what."""
    shrinker = Shrinker(scenario, lie, seconds)
    shrinker.shrink()
    return shrinker.best, shrinker.words


def single(arguments: Namespace) -> int:
    """One seed."""
    scenario = make(arguments.seed, arguments.steps, arguments.theme)
    begin = time.perf_counter()
    result = run(scenario, arguments.verbose)
    taken = time.perf_counter() - begin
    if not arguments.shrink:
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
        report(scenario, result.lie, arguments.verbose)
    return 1


def report(scenario: Scenario, lie: str, verbose: bool = False) -> None:
    """The shrunk scenario, for a person."""
    best, words = shrink(scenario, lie)
    if verbose:
        print("\n".join(run(best, verbose=True).trace))
    print(f"shrunk to {len(best.steps)} steps (schedule {best.schedule}): {words}")
    print(best)
    sys.stdout.flush()


def explore(arguments: Namespace) -> int:
    """New seeds for some minutes, or ``--runs`` of them from ``--from``."""
    first = arguments.first if arguments.first is not None else secrets.randbelow(1 << 30)
    print(f"seeds from {first}")
    begin, processor = time.perf_counter(), time.process_time()
    calls = runs = 0
    found: dict[str, list[int]] = {}
    seed = first
    while (arguments.runs and runs < arguments.runs) or time.perf_counter() - begin < arguments.minutes * 60:
        scenario = make(seed, arguments.steps, arguments.theme)
        result = run(scenario)
        runs += 1
        if runs % COLLECTED == 0:
            gc.collect()
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
    taken, used = time.perf_counter() - begin, time.process_time() - processor
    print(f"{runs} runs, {calls} calls in {taken:.1f} s ({calls / used:.0f} a second of the processor's)")
    for words, seeds in sorted(found.items(), key=lambda one: -len(one[1])):
        print(f"{len(seeds):5} × {words}  seeds {seeds[:4]}")
    return 1 if found else 0


def corpus() -> int:
    """The scenarios that once found something."""
    count = found = 0
    for what, scenario in scenarios():
        result = run(scenario)
        count += 1
        if result.lie is not None:
            found += 1
            print(f"{what} (seed {scenario.seed}, {scenario.theme}): {result.lie}", flush=True)
    print(f"{count} scenarios, {found} found something")
    return 1 if found else 0


class Alone(Simulation):
    """One program where nothing fails and nobody else is."""

    def __init__(self, seed: int, count: int) -> None:
        super().__init__(Scenario(seed, "alone", World(), (), ()))
        self.todo = program(seed, count)
        self.outcomes: list[object] = []

    async def _serve(self, mount: object, root: object) -> None:
        self.programs = {}
        simulated = Simulated(self.kernel)
        for verb, arguments in self.todo:
            self.outcomes.append(await simulated.do(verb, arguments))
        for slot in list(simulated.slots):
            await simulated.close(slot)


def outcomes(seed: int, count: int) -> str:
    """What each call of program ``seed`` came to, as JSON."""
    simulation = Alone(seed, count)
    result = simulation.run()
    assert result.lie is None, result.lie
    return as_json(simulation.outcomes)
