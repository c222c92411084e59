"""CPython's own tests, run on a mount: ``python -m tests.conformance``."""
