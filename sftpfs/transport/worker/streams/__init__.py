"""Bytes between a channel and the front, and the short ways past asyncssh's copies."""
