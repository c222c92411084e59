"""Names and metadata: inodes, leases, directories, the namespace, open files.

Policy and state are synchronous (``vfs.tree``, ``vfs.mapping``, the policies of ``vfs.prefetch``). Waiting
happens in ``vfs.resolver``, ``vfs.readdir``, ``vfs.namespace``, ``vfs.setattr`` and ``vfs.open_file``.
``fuse`` is above, ``data`` and ``remote.api`` are below.
"""
