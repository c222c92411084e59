"""``python -m sftpfs``: the same as the ``sftpfs`` command."""

import sys

from sftpfs.cli.main import main

sys.exit(main())
