#!/usr/bin/env python3
"""A Docker volume plugin: containers' volumes are directories of SFTP servers.

    volume_plugin.py [--socket FILE] [--directory DIR] [--state DIR] [--unmount-at-end]

Speaks Docker's volume plugin protocol, version 1, over a UNIX socket. Each volume in use is a mount of
sftpfs in processes of its own: it goes on while this program is started anew. What volumes there are and
who uses them is kept in sftpfs-volumes.json in --state's directory, or in --directory. README.md beside
this file says how to set it up.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

from volumes import Values, VolumeError, Volumes

SOCKET = "/run/docker/plugins/sftpfs.sock"
DIRECTORY = "/var/lib/sftpfs-volumes"

IDLE_LIMIT = 600.0
"""Seconds a connection of Docker's is kept without a request."""
MOST_BYTES = 1 << 20
"""Of a request."""

log = logging.getLogger("sftpfs-volumes")


class Handler(BaseHTTPRequestHandler):
    """One connection of Docker's."""

    protocol_version = "HTTP/1.1"
    server_version = "sftpfs-volumes"
    timeout = IDLE_LIMIT
    volumes: ClassVar[Volumes]

    def do_POST(self) -> None:
        """Every request of the protocol is one."""
        answer: Values
        try:
            request = self._request()
            if self.path in ANSWERS:
                answer, status = ANSWERS[self.path](self.volumes, request), 200
            else:
                answer, status = {"Err": f"{self.path} is not known here"}, 404
        except VolumeError as error:
            answer, status = {"Err": str(error)}, 500
        except Exception as error:
            log.exception("%s", self.path)
            answer, status = {"Err": f"internal error: {error}"}, 500
        body = json.dumps({"Err": "", **answer}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.docker.plugins.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _request(self) -> Values:
        size = int(self.headers.get("Content-Length") or 0)
        if size > MOST_BYTES or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            raise VolumeError("this request's size or form is not Docker's")
        try:
            request = json.loads(self.rfile.read(size) or b"{}") or {}
        except ValueError:
            request = None
        if not isinstance(request, dict):
            raise VolumeError("the request is not a JSON object")
        return request

    def address_string(self) -> str:
        """There is none on a UNIX socket."""
        return "docker"

    def log_message(self, format: str, *args: object) -> None:
        """Only for debugging: requests are logged by what they do."""
        log.debug(format, *args)


def named(request: Values, key: str) -> str:
    """Raises VolumeError if it is missing or no text."""
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise VolumeError(f"a request without {key}")
    return value


def done(work: Callable[..., object], *arguments: object) -> Values:
    """The answer to what only has to be done."""
    work(*arguments)
    return {}


ANSWERS: dict[str, Callable[[Volumes, Values], Values]] = {
    "/Plugin.Activate": lambda volumes, _: {"Implements": ["VolumeDriver"]},
    "/VolumeDriver.Capabilities": lambda volumes, _: {"Capabilities": {"Scope": "local"}},
    "/VolumeDriver.Create": lambda volumes, ask: done(
        volumes.create, named(ask, "Name"), ask.get("Opts") or {}
    ),
    "/VolumeDriver.Remove": lambda volumes, ask: done(volumes.remove, named(ask, "Name")),
    "/VolumeDriver.Mount": lambda volumes, ask: {
        "Mountpoint": str(volumes.mount(named(ask, "Name"), named(ask, "ID")))
    },
    "/VolumeDriver.Unmount": lambda volumes, ask: done(volumes.unmount, named(ask, "Name"), named(ask, "ID")),
    "/VolumeDriver.Path": lambda volumes, ask: {
        "Mountpoint": volumes.described(named(ask, "Name"))["Mountpoint"]
    },
    "/VolumeDriver.Get": lambda volumes, ask: {"Volume": volumes.described(named(ask, "Name"))},
    "/VolumeDriver.List": lambda volumes, _: {
        "Volumes": [volumes.described(name) for name in volumes.names()]
    },
}


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A thread for each connection, so that a volume whose server is slow holds up no other."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def server_bind(self) -> None:
        """Replaces the socket that a killed plugin left; only root may connect."""
        path = Path(str(self.server_address))
        path.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink(missing_ok=True)
            else:
                sys.exit(f"volume_plugin: another one listens at {path}")
        mask = os.umask(0o177)
        try:
            super().server_bind()
        finally:
            os.umask(mask)


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--socket", default=SOCKET, help=f"default {SOCKET}")
    parser.add_argument("--directory", type=Path, default=Path(DIRECTORY), help=f"default {DIRECTORY}")
    parser.add_argument(
        "--state", type=Path, help="directory of the list of volumes; the default is the same"
    )
    parser.add_argument(
        "--unmount-at-end", action="store_true", help="unmount at the end, if mounts end with this program"
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    Handler.volumes = volumes = Volumes(given.directory.resolve(), (given.state or given.directory).resolve())
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with Server(given.socket, Handler) as server:
        threading.Thread(target=volumes.resume, daemon=True).start()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        log.info("listening at %s", given.socket)
        ended.wait()
        server.shutdown()
    os.unlink(given.socket)
    if given.unmount_at_end:
        volumes.take_all_off()
    return 0


if __name__ == "__main__":
    sys.exit(main())
