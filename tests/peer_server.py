"""An SSH server in a process of its own, for what sshd cannot be made to do without PAM.

    python peer_server.py HOST_KEY MODE [PORT [SECRET]]     prints its port, serves until killed

Modes: ``password`` (secret: "secret" unless given), ``questions`` (two rounds: name and code), ``single``
(one keyboard-interactive "Password:" prompt), ``worded`` (one round; secret: JSON of name, instructions,
prompts and banner; no answer lets in), ``unimplemented`` and ``mute`` (let all in, and answer keepalives
as tinysshd does, or not at all), ``one_time`` (takes the secret once, by two methods, and notes what is tried
in HOST_KEY.tries), ``closed`` (takes no password and says why, and where the secret is "hangs up" does so),
``sha1`` (lets everybody in, and signs with ssh-rsa whatever was agreed on; its key has to be RSA).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import asyncssh
from asyncssh.constants import MSG_GLOBAL_REQUEST, MSG_UNIMPLEMENTED
from asyncssh.packet import SSHPacket, UInt32
from asyncssh.public_key import SSHKeyPair


class Server(asyncssh.SSHServer):
    """Lets in whoever answers right."""

    def __init__(self, host_key: str, mode: str, secret: str) -> None:
        self.host_key = host_key
        self.mode = mode
        self.secret = secret
        self.round = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn

    def begin_auth(self, username: str) -> bool:
        if self.mode == "worded":
            self.connection.send_auth_banner(json.loads(self.secret)["banner"])
        return self.mode not in ("sha1", "unimplemented", "mute")

    def password_auth_supported(self) -> bool:
        return self.mode in ("password", "one_time", "closed")

    def validate_password(self, username: str, password: str) -> bool:
        if self.mode == "one_time":
            return self.take_once(password)
        if self.mode == "closed":
            self.connection.send_auth_banner("The system is going down at 18:00.\nGo home.\n")
            if self.secret == "hangs up":
                self.connection.close()
            return False
        return password == self.secret

    def take_once(self, password: str) -> bool:
        """Note what is tried; right the first time."""
        tries = Path(f"{self.host_key}.tries")
        with tries.open("a") as file:
            file.write(f"{password}\n")
        return tries.read_text() == f"{self.secret}\n"

    def kbdint_auth_supported(self) -> bool:
        return self.mode in ("questions", "single", "worded", "one_time")

    def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, Sequence[tuple[str, bool]]]:
        self.round = 1
        if self.mode == "worded":
            told = json.loads(self.secret)
            return told["name"], told["instructions"], "", [(text, False) for text in told["prompts"]]
        if self.mode in ("single", "one_time"):
            return "", "", "", [("Password: ", False)]
        return "Door", "Two questions", "", [("Favourite colour? ", True), ("PIN: ", False)]

    def validate_kbdint_response(
        self, username: str, responses: Sequence[str]
    ) -> bool | tuple[str, str, str, Sequence[tuple[str, bool]]]:
        if self.mode == "single":
            return list(responses) == ["secret"]
        if self.mode == "one_time":
            return self.take_once(responses[0])
        if self.mode == "worded":
            return False
        if self.round == 1 and list(responses) == ["blue", "42"]:
            self.round = 2
            return "", "", "", [("Verification code: ", False)]
        return self.round == 2 and list(responses) == ["123456"]


def no_keepalives(answer: bool) -> None:
    """Have the server answer what a client asks of the connection with UNIMPLEMENTED, or not."""

    def take(connection: asyncssh.SSHServerConnection, kind: int, number: int, packet: SSHPacket) -> None:
        if answer:
            connection.send_packet(MSG_UNIMPLEMENTED, UInt32(number))

    handlers = asyncssh.SSHServerConnection._packet_handlers
    asyncssh.SSHServerConnection._packet_handlers = {**handlers, MSG_GLOBAL_REQUEST: take}


async def main(host_key: str, mode: str, port: str = "0", secret: str = "secret") -> None:
    """Serve."""
    if mode == "sha1":
        SSHKeyPair.set_sig_algorithm = lambda self, algorithm: None
    if mode in ("unimplemented", "mute"):
        no_keepalives(answer=mode == "unimplemented")
    acceptor = await asyncssh.create_server(
        lambda: Server(host_key, mode, secret),
        "127.0.0.1",
        int(port),
        server_host_keys=[host_key],
        sftp_factory=True,
        gss_host=None,
        line_editor=False,
    )
    print(acceptor.get_port(), flush=True)
    await acceptor.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
