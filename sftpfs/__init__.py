"""sftpfs: mount a remote directory over SFTP.

The package's version lives here and nowhere else; ``pyproject.toml`` reads it. For Python programs:
``sftpfs.mounted`` and what it raises, ``sftpfs.MountError`` and ``sftpfs.DataLostError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sftpfs.errors import Failure, MountError
    from sftpfs.library.mounted import DataLostError, MountedDirectory, mounted

__version__ = "0.1.0"
__all__ = ["DataLostError", "Failure", "MountError", "MountedDirectory", "__version__", "mounted"]


def __getattr__(name: str) -> object:
    """Loaded as it is first used: the command, which imports this package too, is to start at once."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sftpfs.library import mounted as mounting

    found: object = getattr(mounting, name)
    globals()[name] = found
    return found
