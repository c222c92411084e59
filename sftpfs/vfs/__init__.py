"""Names and metadata: inodes, leases, directories, the namespace, open files.

Policy and state are synchronous (``tree``, ``leases``, ``ownership``, ``symlinks``,
``permission``); waiting happens in ``resolver``, ``namespace``, ``attributes`` and
``files``. Faces ``fuse`` above, ``data`` and ``remote.api`` below.
"""
