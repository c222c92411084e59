"""Checks, by an FSTAT behind our writes, whether a server carries requests out in order as assumed.

A size smaller than what was acknowledged has one of two causes: the server looked before it wrote, or another
client changed the file. So the FSTAT is repeated when nothing of ours is under way. That answer is the truth
in both cases, and shows which it was. Used by ``remote.files.pooled_file`` only. ``server_traits`` gets the
result.
"""

from __future__ import annotations

from typing import NamedTuple

from sftpfs.remote.handles.expected_version import ExpectedVersion, Question
from sftpfs.remote.pool.connection import begin_anew
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes

ORDER = "carries_out_in_order"


def in_doubt(
    traits: ServerTraits, version: ExpectedVersion, attributes: Attributes, question: Question
) -> bool:
    """Whether the answer to ``question`` must be asked for again before it is believed."""
    return traits.known.carries_out_in_order and version.lacks(attributes, question)


class Lacking(NamedTuple):
    """An answer that lacked what was acknowledged."""

    size: int
    """The size it had."""
    acknowledged: int
    sent: int
    """Changes of ours sent by then."""

    def judge(self, session: Session, version: ExpectedVersion, attributes: Attributes) -> None:
        """Asked again on ``session`` the server reported ``attributes``. If that is what we wrote, and
        nothing was written since, it keeps no order: the session ends, and requests on the next one are kept
        apart."""
        if version.sent != self.sent or attributes.size != self.acknowledged:
            return
        seen = f"a size of {self.size} was told behind {self.acknowledged} bytes that it had acknowledged"
        session.traits.contradict(ORDER, seen)
        begin_anew(session)
