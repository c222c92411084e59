"""``OpenFlags`` as the protocol has them."""

from __future__ import annotations

from sftpfs.remote.api import OpenFlags

PROTOCOL_FLAGS = {
    OpenFlags.READ: 0x01,
    OpenFlags.WRITE: 0x02,
    OpenFlags.APPEND: 0x04,
    OpenFlags.CREATE: 0x08,
    OpenFlags.TRUNCATE: 0x10,
    OpenFlags.EXCLUSIVE: 0x20,
}
"""SSH_FXF_* (draft-ietf-secsh-filexfer-02 §6.3)."""

ACCESS = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.APPEND
"""What a file is opened with again: never what creates or empties it."""


def protocol_flags(flags: OpenFlags) -> int:
    """``flags`` as the pflags of SSH_FXP_OPEN."""
    return sum(PROTOCOL_FLAGS[flag] for flag in flags)
