"""Examinations that a person asks for: ``sftpfs doctor`` and ``sftpfs bench``. Used by ``cli`` only."""
