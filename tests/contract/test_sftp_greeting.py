"""How a session begins: what is said in place of a greeting, and what limits are told."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from sftpfs.errors import Failure, MountError
from sftpfs.sftp.session import Session
from tests.contract.scripted_peer import LIMIT, SHORT, Peer, lost, with_peer
from tests.harness import sftp_wire as wire


def refused(greeting: bytes, *, end: bool = False, timeout: float = LIMIT) -> MountError:
    """The error of a start where the server says ``greeting``."""
    caught: list[MountError] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.stream.send_all(greeting)
        if end:
            await peer.stream.aclose()
        else:
            await peer.ended()

    async def body(session: Session) -> None:
        with pytest.raises(MountError) as found:
            await session.start()
        caught.append(found.value)
        assert session.closed_error is not None
        await lost(session.start_lstat(b"/"), session.closed_error.errno or 0)

    with_peer(script, body, greeting=None, timeout=timeout)
    assert "\n" not in caught[0].message
    assert caught[0].message.isprintable()
    return caught[0]


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("text", [b"Welcome to \x1b[1mbox\x1b[0m!\r\nhave fun\n", b"\nhi there", b"hi!!"])
def test_text_before_sftp(text: bytes, end: bool) -> None:
    failure = refused(text + (b"" if end else wire.version()), end=end)
    assert failure.failure is Failure.PROTOCOL
    assert "printed text before SFTP started" in failure.message
    assert text.split()[-1].decode() in failure.message


def test_the_greeting_behind_the_text_is_not_shown() -> None:
    failure = refused(b"hello\n" + wire.version(3, (b"posix-rename@openssh.com", b"1")))
    assert "'hello'" in failure.message


def test_a_little_text_and_the_end() -> None:
    failure = refused(b"no", end=True)
    assert "printed text before SFTP started: 'no'" in failure.message


def test_the_end_instead_of_a_greeting() -> None:
    failure = refused(b"", end=True)
    assert failure.failure is Failure.NO_SFTP
    assert "before SFTP started" in failure.message


@pytest.mark.parametrize(
    "greeting",
    [
        b"\0\0\0\0",
        wire.status(3, 4, b"no"),
        wire.version(1),
        wire.version(6),
        wire.packet(2, 3, wire.string(b"name without data")),
        wire.packet(2, 3, b"\xff\xff\xff\xff"),
        b"\x80\xff\x00\x01garbage",
    ],
)
def test_a_greeting_that_is_not_sftp_3(greeting: bytes) -> None:
    assert refused(greeting).failure is Failure.PROTOCOL


def test_a_silent_server() -> None:
    failure = refused(b"", timeout=SHORT)
    assert failure.failure is Failure.TIMED_OUT
    assert "0.5 s" in failure.message


LIMITS = (b"limits@openssh.com", b"1")


def limits_of(reply: Callable[[int], bytes]) -> tuple[int, int]:
    """The read and write size in force after a server's answer to limits@openssh.com."""
    found: list[tuple[int, int]] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.stream.send_all(wire.version(3, LIMITS))
        request = await peer.request()
        assert request.fields.string() == LIMITS[0]
        await peer.stream.send_all(reply(request.identifier))

    async def body(session: Session) -> None:
        await session.start()
        limits = session.capabilities.limits
        found.append((limits.read_size, limits.write_size))

    with_peer(script, body, greeting=None)
    return found[0]


def test_absurd_limits_are_made_sane() -> None:
    assert limits_of(lambda i: wire.packet(201, i, struct.pack(">4Q", 2**60, 2**60, 3, 0))) == (
        261120,
        1024,
    )


def test_a_server_that_offers_limits_and_refuses_to_tell() -> None:
    assert limits_of(lambda i: wire.status(i, 8)) == (32768, 32768)


def test_a_truncated_answer_to_limits() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        limits_of(lambda i: wire.packet(201, i, b"\0"))
    assert caught.group_contains(MountError, match="did not start")
