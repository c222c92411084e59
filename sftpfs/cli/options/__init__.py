"""Options: the one table of them, from argv to a checked ``MountConfig``."""
