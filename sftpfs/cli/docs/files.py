"""Every file that is made from the tables of options and commands or from notes, and its content.

Used by ``contrib/generate``, and by the test that the files are current.
"""

from __future__ import annotations

from pathlib import Path

from sftpfs.cli.docs import completion, manual
from sftpfs.cli.docs.help import options_page, readme_commands


def files(checkout: Path) -> dict[Path, str]:
    """Path → text."""
    contrib = checkout / "contrib"
    readme, changelog = checkout / "README.md", checkout / "CHANGELOG.md"
    changes = _bullets(sorted((contrib / "changes").glob("*.md")))
    return {
        contrib / "man" / "sftpfs.1": manual.command_page(),
        contrib / "man" / "mount.sftpfs.8": manual.helper_page(),
        contrib / "completion" / "sftpfs.bash": completion.bash(),
        contrib / "completion" / "_sftpfs": completion.zsh(),
        contrib / "completion" / "sftpfs.fish": completion.fish(),
        checkout / "sftpfs" / "OPTIONS.md": options_page(),
        readme: _with_section(readme.read_text(encoding="utf-8"), "commands", readme_commands()),
        changelog: _with_section(changelog.read_text(encoding="utf-8"), "changes", changes),
    }


def _with_section(text: str, name: str, content: str) -> str:
    """``text`` with its section ``name`` as it is to be."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    before, _, rest = text.partition(begin)
    return before + begin + content.strip() + "\n" + end + rest.partition(end)[2]


def _bullets(paths: list[Path]) -> str:
    """A list of what the files say."""
    texts = [path.read_text(encoding="utf-8").strip() for path in paths]
    return "\n".join("- " + text.replace("\n", "\n  ") for text in texts)
