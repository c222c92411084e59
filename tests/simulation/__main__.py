"""``python -m tests.simulation``: run seeds; a run that fails is shrunk and printed as steps a person can
read."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation import virtual


def main() -> int:
    """The command; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="tests.simulation")
    parser.add_argument("--seed", type=int, help="this run only")
    parser.add_argument("--minutes", type=float, default=0.0, help="runs with new seeds for so long")
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--from", dest="first", type=int, default=None, help="the first seed")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--theme")
    parser.add_argument("--program", type=int, help="one program alone: what each of its calls came to")
    parser.add_argument("--corpus", action="store_true", help="what once found something")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--keep-going", action="store_true")
    arguments = parser.parse_args()
    from tests.simulation.runs import corpus, explore, outcomes, single

    if arguments.program is not None:
        print(outcomes(arguments.program, arguments.steps))
        return 0
    if arguments.corpus:
        return corpus()
    if arguments.seed is not None:
        return single(arguments)
    return explore(arguments)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    real_time = time.perf_counter
    virtual.install()
    sys.exit(main())
