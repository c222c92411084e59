"""The model of the kernel beside the real one: a random program comes to the same on both."""

from __future__ import annotations

import json

import pytest

from tests.conftest import MakeMount
from tests.simulation.single import Local, program
from tests.simulation.test_runs import finish

CALLS = 300


@pytest.mark.parametrize("seed", range(10))
def test_a_program_comes_to_the_same_in_the_model(make_mount: MakeMount, seed: int) -> None:
    """Call by call: errno, names, sizes, links and bytes."""
    ended = finish("--program", str(seed), "--steps", str(CALLS), limit=100.0)
    assert ended.returncode == 0, ended.stderr
    simulated = json.loads(ended.stdout)
    local = Local(str(make_mount().path))
    try:
        for index, (verb, arguments) in enumerate(program(seed, CALLS)):
            outcome = json.loads(json.dumps(local.do(verb, arguments)))
            assert outcome == simulated[index], (index, verb, arguments)
    finally:
        local.finish()
