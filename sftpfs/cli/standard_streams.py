"""Makes standard input, output and error usable, however the process that started us left them."""

from __future__ import annotations

import io
import os
import sys


def prepare_streams() -> None:
    """Runs before anything is opened. Afterwards none of the three is closed, and every character can be
    printed.

    Otherwise the next file that is opened, even the mount's /dev/fuse, would get the number of a closed one,
    and the daemon would put /dev/null in its place. A character that the encoding lacks (in a file's name,
    the … of the help) is shown as an escape, as Python does on stderr.
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
