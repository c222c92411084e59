"""How the server's owners, bits and link targets are shown here, and the reverse."""
