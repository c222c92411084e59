"""Every file that is made from the tables of options and commands, and what it is to hold.

Used by ``contrib/generate`` and by the test that the files are current.
"""

from __future__ import annotations

from pathlib import Path

from sftpfs.cli import completion, manual
from sftpfs.cli.help import readme_commands, readme_options, readme_statuses


def files(checkout: Path) -> dict[Path, str]:
    """Path → text."""
    contrib = checkout / "contrib"
    readme = checkout / "README.md"
    return {
        contrib / "man" / "sftpfs.1": manual.command_page(),
        contrib / "man" / "mount.sftpfs.8": manual.helper_page(),
        contrib / "completion" / "sftpfs.bash": completion.bash(),
        contrib / "completion" / "_sftpfs": completion.zsh(),
        contrib / "completion" / "sftpfs.fish": completion.fish(),
        readme: _with_sections(readme.read_text(encoding="utf-8")),
    }


def _with_sections(text: str) -> str:
    """The README with its generated sections as they are to be."""
    sections = {"options": readme_options(), "statuses": readme_statuses(), "commands": readme_commands()}
    for name, content in sections.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, _, rest = text.partition(begin)
        text = before + begin + content.strip() + "\n" + end + rest.partition(end)[2]
    return text
