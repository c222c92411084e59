"""What the rest of sftpfs may see of the server: ``api`` and, for the mount, ``pool``."""
