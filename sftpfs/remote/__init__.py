"""The server as a ``Remote``: ``api`` is what vfs and data may see of it.

- A *session* is one SFTP conversation, numbered by its generation; a *connection* is a session and the
  transport under it. One connection is for metadata, others, opened on demand, are for content.
- A *handle* is the server's for an open file; a *predicted handle* goes out with the OPEN that makes it.
- A *stripe* is the same file opened on a further connection. A *hedge* is a request that stalls, sent a
second
  time elsewhere; the first answer is taken.

From the bottom: ``outcome``, ``requests``, ``pool``, ``handles``, ``transfers``, ``files``, ``operations``,
and ``client``, which puts them together.
"""
