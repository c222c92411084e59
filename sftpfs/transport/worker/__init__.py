"""The SSH worker: a process for each connection. Nothing else imports asyncssh, asyncio or uvloop."""
