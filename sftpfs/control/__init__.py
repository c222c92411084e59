"""Shows the state of a running mount and passes orders to it, over a UNIX socket of its owner's only."""
