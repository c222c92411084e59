"""File content: chunks, read-ahead, dirty extents and write-back."""

from sftpfs.data.contents import Contents
from sftpfs.data.file_content import FileContent
from sftpfs.data.file_handle import FileHandle, set_and_stat
from sftpfs.data.observer import ContentObserver, LostBytes

__all__ = ["ContentObserver", "Contents", "FileContent", "FileHandle", "LostBytes", "set_and_stat"]
