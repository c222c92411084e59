"""The cached tree: inodes, names, leases. Synchronous, and the only one to change an inode."""
