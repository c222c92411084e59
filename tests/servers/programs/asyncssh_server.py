"""asyncssh's SFTP server for one key."""

import asyncio
import sys

import asyncssh


async def serve(port: str, host_key: str, client_key: str, _served: str) -> None:
    """Until we are ended."""
    server = await asyncssh.listen(
        "127.0.0.1",
        int(port),
        server_host_keys=[host_key],
        authorized_client_keys=client_key,
        sftp_factory=True,
        allow_scp=False,
    )
    await server.wait_closed()


asyncio.run(serve(*sys.argv[1:]))
