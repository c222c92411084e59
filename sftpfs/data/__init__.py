"""File content: chunks, read-ahead, dirty extents and write-back."""

from sftpfs.data.content import Contents, FileContent
from sftpfs.data.handle import FileHandle, set_and_stat
from sftpfs.data.lost import LostBytes
from sftpfs.data.state import ContentObserver

__all__ = ["ContentObserver", "Contents", "FileContent", "FileHandle", "LostBytes", "set_and_stat"]
