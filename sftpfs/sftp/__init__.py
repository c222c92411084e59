"""SFTP v3: packets, extensions, and a session on a byte stream. Used by ``remote`` only."""
