"""Mounts for Python programs: ``sftpfs.mounted``. The command does the work, in processes of its own."""
