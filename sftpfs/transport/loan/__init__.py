"""A connection that its worker has lent to the front: the one channel's bytes then pass no other process.

- ``state``: what is lent and what comes back, checked. Also the worker's side imports it.
- ``wire``: the packets of the one channel, encrypted and decrypted. Pure.
- ``lent_connection``: the borrowed socket with both directions of the channel.
- ``borrower``: the channels of one worker, and what it says of loans.
- ``lendable_stream``: the byte stream that a session holds, which goes through the worker or past it.

A *loan* begins with the worker's ``lend`` and ends with the front's ``return`` (``transport.messages``).
While it lasts the worker neither reads, writes nor encrypts; the front serves data and windows of the one
channel and answers keepalives. For whatever else it returns the connection, at a packet that nobody has
opened yet, and the worker lets asyncssh say what that packet means. ``transport.worker.streams.lender`` is
the other side."""
