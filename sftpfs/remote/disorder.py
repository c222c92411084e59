"""Whether a server that is taken to carry requests out in order does: what an FSTAT shows behind our writes.

A size smaller than what was acknowledged is either that of a server that looked before it wrote, or another
client's change. So it is asked again, now that nothing of ours is under way: that answer is the truth either
way, and tells which it was. Used by ``remote.file`` only; what is learned is told to ``server_traits``.
"""

from __future__ import annotations

from typing import NamedTuple

from sftpfs.remote.version import KnownVersion, Question
from sftpfs.server_traits import ServerTraits
from sftpfs.sftp.session import Session
from sftpfs.types import Attributes

ORDER = "carries_out_in_order"


def in_doubt(traits: ServerTraits, version: KnownVersion, attributes: Attributes, question: Question) -> bool:
    """Whether the answer to ``question`` is to be asked for again before it is believed."""
    return traits.known.carries_out_in_order and version.lacks(attributes, question)


class Lacking(NamedTuple):
    """An answer that lacked what was acknowledged."""

    told: int
    """The size it had."""
    acknowledged: int
    sent: int
    """Changes of ours sent by then."""

    def judge(self, session: Session, version: KnownVersion, attributes: Attributes) -> None:
        """Asked again on ``session`` the server told ``attributes``. Where that is what we wrote, nothing
        written since, it keeps no order: the session ends, and what is asked on the next is kept apart."""
        if version.sent != self.sent or attributes.size != self.acknowledged:
            return
        seen = f"a size of {self.told} was told behind {self.acknowledged} bytes that it had acknowledged"
        session.traits.contradict(ORDER, seen)
        begin_anew(session)


def begin_anew(session: Session) -> None:
    """End ``session`` where it was begun with a server that was taken to keep the order, and does not."""
    if session.order is None and not session.traits.known.carries_out_in_order:
        session.close("the server does not carry out requests in order: one is begun that keeps them apart")
