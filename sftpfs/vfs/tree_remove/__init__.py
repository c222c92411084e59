"""Removing whole trees from within the mount, many requests under way at once (``sftpfs rm``).

It lists and removes by the operations that the kernel's requests use, beside those. The words: a *branch* is
a directory that goes with everything in it; a *round* is one listing of it, and the removal of what that
named."""
