"""The fork server: imports the SSH library once, so that a process for each connection is only a fork.

The front starts it (``transport.fork_client``) with the words ``FD [COVERED_FD COVERED]``. It has no event
loop and no thread, so forking is safe, and it shares the library's memory with every worker. When its control
socket ends (the front is gone, for whatever reason) it kills the workers and exits. No other signal ends it
or them. Signals to a whole process group or control group (a terminal's, a service manager's SIGTERM) are for
the front to answer, which still has to write over the connections that the workers hold.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys

from sftpfs.errors import traced
from sftpfs.host.covered_files import Held, hold
from sftpfs.transport import messages


class ForkServer:
    """INVARIANT: ``_children`` are the pids forked and not yet reaped."""

    def __init__(self, sock: socket.socket) -> None:
        self._control = sock
        self._children: set[int] = set()

    def serve(self) -> socket.socket | None:
        """Fork and reap until the front is gone: None. In a forked child: its control socket."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(wake_read, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if wake_read in ready:
                os.read(wake_read, 4096)
                self._reap()
            if self._control.fileno() not in ready:
                continue
            received = messages.receive(self._control)
            if received is None:
                self._kill()
                return None
            worker = self._fork(received[1])
            if worker is not None:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for fd in (wake_read, wake_write):
                    os.close(fd)
                self._control.close()
                return worker

    def _fork(self, fd: int | None) -> socket.socket | None:
        if fd is None:
            return None
        try:
            pid = os.fork()
        except OSError as error:
            self._send({"type": "fork-failed", "message": error.strerror})
            os.close(fd)
            return None
        if pid == 0:
            return socket.socket(fileno=fd)
        os.close(fd)
        self._children.add(pid)
        self._send({"type": "forked", "pid": pid})
        return None

    def _reap(self) -> None:
        for pid in list(self._children):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._children.discard(pid)
                self._send({"type": "exited", "pid": pid, "status": os.waitstatus_to_exitcode(status)})

    def _kill(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)

    def _send(self, message: messages.Message) -> None:
        try:
            messages.send(self._control, message)
        except OSError:
            pass  # the front is gone: the end of file says so next


def main() -> None:
    """Entry of the fork server's process; workers leave through it as well."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    if len(sys.argv) > 3:
        covered = int(sys.argv[2])
        os.set_inheritable(covered, False)
        hold(Held(sys.argv[3], covered))
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    try:
        from sftpfs.transport.worker import worker
    except Exception as error:  # whatever a library that does not fit may raise
        messages.send(sock, {"type": "unusable", "message": messages.one_line(f"{error}")})
        return
    gc.collect()
    gc.freeze()  # the collector would write to every page shared with the workers
    messages.send(sock, {"type": "ready"})
    try:
        mine = ForkServer(sock).serve()
    except Exception as error:
        messages.send(sock, {"type": "fault", "text": messages.one_line(traced(error))})
        raise
    if mine is None:
        return
    status = 1
    try:
        worker.run(mine)
        status = 0
    finally:
        os._exit(status)  # nothing of the fork server's may run in a child
