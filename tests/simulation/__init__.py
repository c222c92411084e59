"""The mount in a simulated world: every interleaving a function of a seed (``python -m
tests.simulation``)."""
