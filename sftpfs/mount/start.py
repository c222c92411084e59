"""From a configuration to the process that serves: what can be done before the event loop is loaded.

Most of a mount's start is loading libraries: trio and libfuse here, asyncssh in the fork server. So this
module imports none of them. It says at once what cannot be, forks the daemon, starts the fork server, and
only then loads ``mount.service``: both processes load side by side.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from sftpfs.config import MountConfig, TransportKind
from sftpfs.host import covered_files, logs, mountpoint, protected_paths
from sftpfs.host.daemon import guarded, leave_no_core, run_as_daemon, to_stderr
from sftpfs.host.mount_directory import Place
from sftpfs.transport.fork_launch import Launched, launch

if TYPE_CHECKING:
    from sftpfs.mount.service import MountPrompter

log = logging.getLogger("sftpfs.mount")


def run(config: MountConfig, notes: list[str], prompter: MountPrompter | None = None) -> int:
    """Mount as ``config`` says; returns the exit status. In a daemon's child: at the end of the mount.

    ``notes`` are lines about options without effect, told with ``-v``; ``prompter`` asks in place of
    the terminal or the askpass program. Raises MountError.
    """
    logs.start(config.log_file, config.verbose, config.debug)
    for note in notes:
        log.info("%s", note)
    if not config.debug:
        leave_no_core()
    place = check(config)

    def serve(ready: Callable[[], None]) -> int:
        covered_files.hold(covered_files.Held(place.path, place.fd))
        launched = _launched(config)
        from sftpfs.mount.service import serve_in_loop

        return serve_in_loop(config, place, prompter, ready, launched)

    if config.foreground:
        return guarded(lambda: serve(lambda: None), to_stderr, config.debug)
    return run_as_daemon(
        serve,
        clean_up=place.take_off_dead,
        keep_stdio=config.transport.kind is TransportKind.PASSIVE,
        debug=config.debug,
    )


def _launched(config: MountConfig) -> Launched | None:
    """The fork server, where the transport needs one. Where it cannot be started, connecting tells why."""
    if config.transport.kind is not TransportKind.ASYNCSSH:
        return None
    try:
        return launch()
    except OSError:
        return None


def check(config: MountConfig) -> Place:
    """Checks everything that can fail before the server is asked. Returns the directory to mount on. Raises
    MountError."""
    protected_paths.check(config)
    mountpoint.check_fuse()
    for option, given in (("allow_other", config.fuse.allow_other), ("allow_root", config.fuse.allow_root)):
        if given:
            mountpoint.check_allowed(option)
    mountpoint.recover(config.mountpoint, config.fuse.subtype)
    return Place(config.mountpoint, source_name(config), config.fuse.subtype)


def source_name(config: MountConfig) -> str:
    """The source as mountinfo shows it."""
    name = config.fuse.filesystem_name
    return (str(config.endpoint) if name is None else name).encode("ascii", "backslashreplace").decode()
