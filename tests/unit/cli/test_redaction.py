"""A report leaves out what is secret, and keeps what tells how a mount was made."""

from __future__ import annotations

import pytest

from sftpfs.cli.tools.redaction import LEFT_OUT, options_of, redacted


@pytest.mark.parametrize(
    "text",
    [
        "https://me:s3cret@proxy.example/",
        "https://me:s3cr@et:s3cret@proxy.example/",
        "https://host/?access_token=s3cret&x=1",
        '{"api_key": "s3cret"}',
        "PASSWORD=s3cret",
        "password: 's3cret words'",
        "curl --proxy-user me:s3cret",
        "--auth-token s3cret",
        "--proxy-auth=me:s3cret",
        "Authorization: Bearer s3cret.abc",
        "ProxyCommand=nc -X me s3cret",
        "-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret",
    ],
)
def test_what_is_secret_is_left_out(text: str) -> None:
    assert "s3cret" not in redacted(text)
    assert LEFT_OUT in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "me@host.example:dir on /mnt/tokens",
        "36 35 0:61 / /mnt rw,relatime - fuse.sftpfs me@host: rw,user_id=0,group_id=0",
        "the server asks for a password; none can be asked for here",
        "the ProxyCommand ended with status 1",
    ],
)
def test_names_and_messages_are_kept(text: str) -> None:
    assert redacted(text) == text


def test_arguments_of_a_command_are_left_out_wherever_they_stand() -> None:
    words = ["me@host:dir", "/mnt", "-p", "2222", "-o", "ProxyCommand=nc -P hunter2 %h,ro"]
    lines, secrets = options_of(words)
    text = "\n".join(lines)
    assert "hunter2" not in text
    assert "-o ProxyCommand=nc [left-out]" in lines
    assert {"me@host:dir", "/mnt", "-o ro", "-o port=2222"} <= set(lines)
    assert "hunter2" not in redacted("nc: hunter2 was refused", secrets)


def test_an_assignment_before_a_program_is_an_argument() -> None:
    lines, _ = options_of(["host:", "/mnt", "-o", "ssh_command=KEY=s3cret ssh -v", "-o", "SetEnv=A=s3cret"])
    assert "s3cret" not in "\n".join(lines)


def test_words_of_another_version_are_not_told() -> None:
    lines, _ = options_of(["host:", "/mnt", "--from-the-future", "s3cret"])
    assert len(lines) == 1
    assert "s3cret" not in lines[0]
