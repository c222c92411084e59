"""A scenario as data: what the server holds, how the mount is configured, and who does what in which order.

Made from a seed alone, before anything runs, so that steps may be left out and the rest still means the same.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from typing import Any

PROGRAMS = ("A", "B", "C")


@dataclass(frozen=True)
class Step:
    """``who`` does ``verb`` ``pause`` seconds after its step before: a program (A, B, C), another client on
    the server (X), or what lies between (N)."""

    who: str
    pause: float
    verb: str
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.who} +{self.pause:<6g} {self.verb}({', '.join(map(repr, self.arguments))})"


@dataclass(frozen=True)
class World:
    """How things are. ``bound`` is the cache's, in names."""

    one_way: float = 0.0
    jitter: float = 1.0
    bound: int = 10_000
    timeout: float = 10.0
    connections: int = 3
    lease: float = 20.0
    """0: cache=no."""
    wall_offset: float = 0.0
    forget: float = 0.0
    """Chance that the kernel forgets some names before a call."""
    chunk_rooms: tuple[int, ...] = (4096, 32768)
    divide: int = 1
    """What a request carries, and bulk begins with, is divided by this (``sizes``)."""
    listed: int = 100
    """Names that the server tells in one READDIR: of fewer a small directory takes as many round trips as
    else one of thousands."""
    shown: int = 2000
    """Names of a directory that is shown in one piece: a larger one is shown in parts, as it comes."""
    bandwidth: float = math.inf
    """Bytes of content a second, each way (``bwlimit=``)."""
    proc: bool = False
    """The server has a /proc, which tells what its clock shows."""


@dataclass(frozen=True)
class Scenario:
    seed: int
    theme: str
    world: World
    setup: tuple[Step, ...]
    steps: tuple[Step, ...]
    schedule: int = 0
    """Another order of tasks over the same steps."""

    def with_steps(self, steps: list[Step]) -> Scenario:
        return replace(self, steps=tuple(steps))

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, theme {self.theme}, {self.world}"]
        lines += [f"  before the mount: {step}" for step in self.setup[:6]]
        if len(self.setup) > 6:
            lines.append(f"  before the mount: … {len(self.setup) - 6} more")
        return "\n".join([*lines, *(f"  {step}" for step in self.steps)])


@dataclass
class Maker:
    """What a theme makes its steps with."""

    rng: random.Random
    setup: list[Step] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    count: int = 0

    def pick(self, *choices: Any) -> Any:
        return self.rng.choice(choices)

    def pause(self) -> float:
        """Mostly at once, at times a moment, now and then beyond a lease."""
        return self.rng.choice((0.0, 0.0, 0.0, 0.0, 0.001, 0.01, 0.1, 0.7, 2.5, 5.0))

    def tag(self) -> str:
        self.count += 1
        return f"{self.count}"

    def size(self) -> int:
        return self.rng.choice((1, 16, 100, 1000, 4096, 5000, 20_000, 70_000))

    def step(self, who: str, verb: str, *arguments: Any, pause: float | None = None) -> None:
        self.steps.append(Step(who, self.pause() if pause is None else pause, verb, arguments))

    def before(self, verb: str, *arguments: Any) -> None:
        self.setup.append(Step("X", 0.0, verb, arguments))


def make(seed: int, count: int, only: str | None = None) -> Scenario:
    """The scenario of ``seed``, of about ``count`` steps: the same whether its theme is named (``only``) or
    drawn."""
    from tests.simulation.themes import THEMES

    theme = only or random.Random(-1 - seed).choice(sorted(THEMES))
    maker = Maker(random.Random(seed))
    world = THEMES[theme](maker, count)
    return Scenario(seed, theme, world, tuple(maker.setup), tuple(maker.steps))
