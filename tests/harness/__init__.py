"""What the tests stand on: mounts, proxies, process bookkeeping, time limits."""
