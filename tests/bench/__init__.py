"""Benchmarks, side by side with the peers; not part of the test run."""
