"""Requests made before somebody asks: listings that a walker needs next, small files that a reader opens
next.

``prefetcher`` carries out what the policies (``tree_walk``, ``directory_enter``, ``negative_renewal``,
``small_files``) decide. Each policy counts what was used and what was wasted. A demand joins a request that
is under way.
"""
