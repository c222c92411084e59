"""sftpfs: mount a remote directory over SFTP.

The package's version lives here and nowhere else; ``pyproject.toml`` reads it.
"""

__version__ = "0.1.0"
