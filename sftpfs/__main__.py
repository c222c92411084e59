"""The ``sftpfs`` command, also as ``python -m sftpfs``."""

import sys

INTERRUPTED_STATUS = 130
"""As ``host.daemon.INTERRUPTED_STATUS``, which is not there yet."""


def main() -> int:
    """Run it; Ctrl-C while it is being loaded is told as it is later."""
    try:
        from sftpfs.cli.main import main as run
    except KeyboardInterrupt:
        print("sftpfs: interrupted", file=sys.stderr)
        return INTERRUPTED_STATUS
    return run()


if __name__ == "__main__":
    sys.exit(main())
