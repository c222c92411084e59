"""Looking into a running mount and telling it what to do, over a UNIX socket of its owner's only."""
