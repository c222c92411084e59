"""Small parts of the transports: messages, remembered answers, argv, jump hosts, words."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpfs.config import Endpoint, TransportConfig, TransportKind
from sftpfs.errors import Failure, MountError
from sftpfs.transport import messages
from sftpfs.transport.answer_memory import AnswerMemory
from sftpfs.transport.api import PromptKind
from sftpfs.transport.connect_errors import connect_failure, name_failure
from sftpfs.transport.openssh_errors import SshWords
from sftpfs.transport.program import own_level, ssh_arguments
from sftpfs.transport.ssh_config.proxy_jump import jump_hops


def test_messages_travel_whole_with_a_descriptor_and_end_with_the_peer() -> None:
    ours, theirs = messages.socketpair()
    read_end, write_end = os.pipe()
    with ours:
        with theirs:
            messages.send(ours, {"type": "a", "text": "é\n"}, [write_end])
            messages.send(ours, {"type": "b"})
            os.close(write_end)
            received = messages.receive(theirs)
            assert received is not None
            message, fd = received
            assert message == {"type": "a", "text": "é\n"} and fd is not None
            os.write(fd, b"x")
            assert os.read(read_end, 1) == b"x" and not os.get_inheritable(fd)
            os.close(fd)
            assert messages.receive(theirs) == ({"type": "b"}, None)
        assert messages.receive(ours) is None
    os.close(read_end)


@given(st.text(max_size=300))
def test_what_a_server_says_cannot_steer_a_terminal(text: str) -> None:
    line = messages.one_line(text)
    assert line.isprintable() or not line
    assert all(c.isprintable() or c == "\n" for c in messages.shown(text))


def test_only_lasting_answers_are_recalled_and_only_for_the_first_try() -> None:
    memory = AnswerMemory()
    memory.keep({"password a": "secret"})
    assert memory.recall(PromptKind.PASSWORD, "password a", 0) == "secret"
    assert memory.recall(PromptKind.PASSWORD, "password a", 1) is None
    memory.keep({"password c": "lasting"})
    memory.keep({"password c": "lasting"})
    memory.keep({"password d": "once"})
    memory.refused({"password c", "password d", "password e"})
    assert memory.recall(PromptKind.PASSWORD, "password c", 0) == "lasting"
    assert memory.recall(PromptKind.PASSWORD, "password d", 0) is None
    assert memory.recall(PromptKind.PASSWORD, "password b", 0) is None
    assert memory.recall(PromptKind.ONE_TIME, "password a", 0) is None
    assert "secret" not in repr(memory)


def test_argv_of_the_command() -> None:
    config = TransportConfig(
        kind=TransportKind.COMMAND,
        ssh_command=("ssh", "-v"),
        ssh_config_file="/f",
        ssh_options=(("IdentityFile", "/k"), ("ServerAliveInterval", "5")),
        compression=True,
    )
    argv = ssh_arguments(config, Endpoint("host", user="ann", port=7), batch=True)
    assert argv[:2] == ["ssh", "-v"] and argv[-3:] == ["-s", "host", "sftp"]
    for word in ("-x", "-a", "-C", "-oClearAllForwardings=yes", "-oIdentityFile=/k", "-oBatchMode=yes"):
        assert word in argv
    assert argv[argv.index("-p") + 1] == "7" and argv[argv.index("-F") + 1] == "/f"
    assert argv[argv.index("-l") + 1] == "ann"
    assert "-oServerAliveInterval=15" not in argv
    by_path = TransportConfig(kind=TransportKind.COMMAND, ssh_command=("ssh",), sftp_server="/s")
    argv = ssh_arguments(by_path, Endpoint("host"), batch=False)
    assert argv[-2:] == ["host", "/s"] and "-s" not in argv and "-oBatchMode=yes" not in argv
    assert "-oSessionType=default" in argv


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", (None, "host", None)),
        ("ann@host:7", ("ann", "host", 7)),
        ("[::1]:7", (None, "::1", 7)),
        ("ann@[::1]", ("ann", "::1", None)),
        ("::1", (None, "::1", None)),
        ("ssh://ann@host:7/", ("ann", "host", 7)),
    ],
)
def test_jump_hosts(text: str, expected: tuple[str | None, str, int | None]) -> None:
    assert jump_hops(text) == (expected,)
    assert [hop.host for hop in jump_hops(f"a,{text}")] == ["a", expected[1]]


@pytest.mark.parametrize("text", ["ann@", "host:port", "host,ann@"])
def test_jump_hosts_that_make_no_sense(text: str) -> None:
    with pytest.raises(MountError):
        jump_hops(text)


@pytest.mark.parametrize(
    ("numbers", "failure"),
    [
        ([errno.EHOSTUNREACH, errno.ECONNREFUSED], Failure.REFUSED),
        ([errno.ETIMEDOUT, errno.ENETUNREACH], Failure.UNREACHABLE),
        ([errno.ETIMEDOUT], Failure.TIMED_OUT),
        ([], Failure.TIMED_OUT),
        ([errno.EACCES], Failure.UNREACHABLE),
    ],
)
def test_words_for_addresses_that_fail(numbers: list[int], failure: Failure) -> None:
    error = connect_failure("host", [OSError(number, os.strerror(number)) for number in numbers], 20)
    assert error.failure is failure and "host" in error.message


def test_words_for_names() -> None:
    assert "network" in name_failure("h", socket.gaierror(socket.EAI_AGAIN, "again")).message
    assert "'h' not found" in name_failure("h", socket.gaierror(socket.EAI_NONAME, "none")).message


def test_what_ssh_says_is_shown_by_lines_without_what_was_only_asked_for_the_kind() -> None:
    words = SshWords()
    assert words.take(b"debug1: Connecting to h\r\nWarning: Perma") == []
    assert words.take(b"nently added\r\ndebug") == ["Warning: Permanently added"]
    assert words.take(b'1: x\r\nAuthenticated to h ([::1]:22) using "publickey".\r\nlast') == []
    assert words.finish() == ["last"] and words.last == "last"
    assert words.finish() == []


def test_only_ssh_itself_tells_a_kind_of_failure() -> None:
    def kind_of(*lines: str, status: int | None = 255) -> Failure | None:
        words = SshWords()
        words.take("".join(f"{line}\r\n" for line in lines).encode())
        return words.failure(status)

    refused = "ann@host: Permission denied (publickey)."
    assert kind_of(refused) is Failure.AUTHENTICATION
    assert kind_of(refused, status=1) is None and kind_of(refused, status=-9) is None
    assert kind_of("debug1: Entering interactive session.", refused) is None
    assert kind_of("debug1: x", "something else") is Failure.TRANSPORT and kind_of("something else") is None
    assert kind_of() is None
    offered = "Unable to negotiate with ::1 port 22: no matching key exchange method found. Their offer: "
    assert kind_of(f"{offered}x: Permission denied (publickey).") is Failure.PROTOCOL
    many = "Received disconnect from ::1 port 22:2: Too many authentication failures"
    assert kind_of("debug1: x", many, "Disconnected from ::1 port 22") is Failure.AUTHENTICATION
    assert kind_of("debug1: x", many, "more", "Disconnected from ::1 port 22") is Failure.TRANSPORT
    assert kind_of(refused, "Killed by signal 1.") is Failure.AUTHENTICATION
    ended = "Connection closed by UNKNOWN port 65535"
    assert kind_of(ended, "sh: line 1: nc: command not found") is Failure.UNREACHABLE
    words = SshWords()
    words.take(b"x" * 100_000 + refused.encode())
    words.finish()
    assert words.failure(255) is Failure.AUTHENTICATION and len(words.last) <= 4096


def test_why_a_server_disconnects_is_told_and_decides_nothing() -> None:
    words = SshWords()
    why = "Received disconnect from ::1 port 22:2: ann@host: Permission denied (publickey)."
    words.take(f"debug1: x\r\n{why}\r\nDisconnected from ::1 port 22\r\n".encode())
    assert words.last == why and words.failure(255) is Failure.TRANSPORT


def test_what_somebody_chose_to_be_logged_stays() -> None:
    def level(*command: str, **options: str) -> bool:
        config = TransportConfig(
            kind=TransportKind.COMMAND, ssh_command=command, ssh_options=tuple(options.items())
        )
        argv = ssh_arguments(config, Endpoint("host"), batch=True)
        assert own_level(config) is ("-oLogLevel=DEBUG1" not in argv)
        return own_level(config)

    assert not level("ssh", "-T", "-oRequestTTY=no") and not level("ssh", "-i", "/q")
    assert level("ssh", "-v") and level("ssh", "-Tq") and level("ssh", LogLevel="INFO")


def test_the_address_that_ssh_reached_is_the_last_it_tried_before_the_server_greeted() -> None:
    words = SshWords()
    words.take(b"debug1: Connecting to h [::1] port 22.\ndebug1: connect to address ::1 port 22: refused\r\n")
    words.take(b"debug1: Connecting to h [192.0.2.1] port 22.\r\n")
    assert words.address is None
    words.take(
        b"debug1: kex_exchange_identification: banner line 0: debug1: Connecting to h [1.1.1.1] port 1.\n"
    )
    words.take(b"debug1: Remote protocol version 2.0, remote software version OpenSSH_9.2\n")
    words.take(b"debug1: Connecting to h [2.2.2.2] port 2.\n")
    assert words.address == ("192.0.2.1", "22")
