"""Commands (``sftpfs status`` …): the one table of them, and how one is found and run."""
