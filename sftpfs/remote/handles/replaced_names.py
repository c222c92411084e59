"""What stays open of a file whose name another file got, on a server whose handles may go by names.

Some servers read, and report, whatever has the name that a file was opened by. Such a handle is given up,
because its next READ would bring another file's bytes. Used by ``remote.operations.name_changes`` only.
"""

from __future__ import annotations

from sftpfs.errors import StatusError
from sftpfs.remote.handles.open_files import OpenInode
from sftpfs.server_traits import ServerTraits

TRAIT = "handles_outlive_names"


async def look_after(traits: ServerTraits, replaced: OpenInode) -> None:
    """``replaced`` has lost its name to another file. What is open of it is stale if its handle shows that
    other one, or if the server's handles are known to do so. One wait, and on OpenSSH's none."""
    if traits.sure(TRAIT):
        return
    for file in list(replaced.files):
        handle, version = file.primary(), file.version
        if handle is None or version is None:
            continue
        if traits.known.handles_outlive_names:
            asked = handle.session.start_fstat(handle.identifier)
            try:
                attributes = await asked.wait()
            except StatusError:
                continue  # it tells nothing of another
            if not version.exact or version.accepts(attributes):
                continue
            traits.contradict(TRAIT, "a handle of a file that was replaced told of the new one")
        file.give_up()
