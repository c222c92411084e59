"""Processes and sockets that bring a byte stream to the server."""
