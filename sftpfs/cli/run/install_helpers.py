"""``sftpfs install-helpers``: the links through which ``mount -t sftpfs`` works, and updatedb's list."""

from __future__ import annotations

import argparse
import os
import sys

from sftpfs.cli.tools import helper_links, updatedb


def run(given: argparse.Namespace) -> int:
    """Makes or removes the links. Returns 0. Raises MountError."""
    directory = given.directory
    if given.remove:
        for path in helper_links.remove(directory):
            print(f"removed {path}")
        if updatedb.walk():
            print(f"took {updatedb.TYPE} out of PRUNEFS in {updatedb.CONFIGURATION}")
        return 0
    program = helper_links.program_path()
    for path in helper_links.install(directory, program):
        print(f"{path} -> {program}" if os.path.islink(path) else f"{path}: a script")
    if updatedb.prune():
        print(
            f"added {updatedb.TYPE} to PRUNEFS in {updatedb.CONFIGURATION}: updatedb walks no mount of sftpfs"
        )
    weak = helper_links.changeable_by_others(program)
    if weak:
        print(
            f"sftpfs: note: mount(8) runs {program} as root, and {weak} may be changed by others; "
            "better install it for root",
            file=sys.stderr,
        )
    return 0
