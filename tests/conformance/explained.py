"""What CPython's tests find otherwise than on a local disk, and the sentence of SEMANTICS that says so."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

SEMANTICS = Path(__file__).resolve().parents[2] / "sftpfs" / "SEMANTICS.md"

WHOLE_SECONDS = "Times on the server are whole seconds from 1970 to 2106"
PRESENT_SECOND = "Two more times are shown whole: the time of day that `touch` sets"
REGULAR_FILES_ONLY = "Making a pipe, a socket or a device is `EPERM`"
NO_EXTENDED_ATTRIBUTES = "Extended attributes and ACLs are `EOPNOTSUPP`."

FAILURES = {
    "test.test_tarfile.TestExtractionFilters.test_pipe": REGULAR_FILES_ONLY,
    "test.test_logging.UnixSysLogHandlerTest.test_udp_reconnection": REGULAR_FILES_ONLY,
}
"""Pattern of test names → sentence."""

SKIPS = {
    "*fifo*": REGULAR_FILES_ONLY,
    "*named_pipe*": REGULAR_FILES_ONLY,
    "*socket*": REGULAR_FILES_ONLY,
    "test.test_logging.Unix*": REGULAR_FILES_ONLY,
    "test.test_os.ExtendedAttributeTests.*": NO_EXTENDED_ATTRIBUTES,
    "test.test_shutil.*xattr*": NO_EXTENDED_ATTRIBUTES,
    "test.test_zipfile.*.test_add_file_after_2107": WHOLE_SECONDS,
}
"""The same for tests that look first and skip themselves."""


def sentence(name: str, table: dict[str, str]) -> str | None:
    """Why test ``name`` differs, or None."""
    return next((text for pattern, text in table.items() if fnmatchcase(name, pattern)), None)


def unquoted() -> list[str]:
    """Sentences above that SEMANTICS does not hold."""
    text = " ".join(SEMANTICS.read_text().split())
    return [words for words in sorted({*FAILURES.values(), *SKIPS.values()}) if _joined(words) not in text]


def _joined(words: str) -> str:
    return re.sub(r"\s+", " ", words)
