"""Standard input, output and error as whoever started us left them, made fit for use."""

from __future__ import annotations

import io
import os
import sys


def prepare_streams() -> None:
    """Before anything is opened: none of the three is closed, and no character cannot be printed.

    The next file opened would get the number of a closed one, the mount's /dev/fuse as
    well, and the daemon would put /dev/null in its place. A character the encoding lacks
    (a name of a file, the … of the help) is shown as an escape, as Python does on stderr.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
