"""Scenarios that once found something, shrunk: run always.

One a line of ``corpus.jsonl``, as data, so that they mean the same whatever becomes of the themes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.simulation.scenario import Scenario, Step, World

FILE = Path(__file__).with_name("corpus.jsonl")


def scenarios() -> Iterator[tuple[str, Scenario]]:
    """What each was found to show, and the scenario."""
    for line in FILE.read_text().splitlines():
        kept = json.loads(line)
        world = World(**{**kept["world"], "chunk_rooms": tuple(kept["world"]["chunk_rooms"])})
        setup, steps = (_steps(kept[part]) for part in ("setup", "steps"))
        yield kept["what"], Scenario(kept["seed"], kept["theme"], world, setup, steps, kept["schedule"])


def _steps(kept: list[list[Any]]) -> tuple[Step, ...]:
    return tuple(Step(who, pause, verb, tuple(arguments)) for who, pause, verb, arguments in kept)
