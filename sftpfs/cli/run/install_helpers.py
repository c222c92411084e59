"""``sftpfs install-helpers``: the links in /sbin through which ``mount -t sftpfs`` works."""

from __future__ import annotations

import argparse
import sys

from sftpfs.cli import helper_links


def run(given: argparse.Namespace) -> int:
    """Make or remove the links; 0. Raises MountError."""
    directory = given.directory
    if given.remove:
        for path in helper_links.remove(directory):
            print(f"removed {path}")
        return 0
    program = helper_links.program_path()
    for path in helper_links.install(directory, program):
        print(f"{path} -> {program}")
    weak = helper_links.changeable_by_others(program)
    if weak:
        print(
            f"sftpfs: note: mount(8) runs {program} as root, and {weak} may be changed by others; "
            "better install it for root",
            file=sys.stderr,
        )
    return 0
