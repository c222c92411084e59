"""This machine: mountpoints and who uses them, the mount's process, its logs, systemd. Knows no server."""
