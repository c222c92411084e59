"""``sftpfs cp``: the walk, the content, and the requests to mounts to copy it on their servers."""
