"""The command line: argv and ``-o`` become a MountConfig. Nothing imports it but the entry points."""
