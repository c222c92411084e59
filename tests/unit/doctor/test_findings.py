"""How findings of the doctor are printed."""

from __future__ import annotations

from sftpfs.doctor.findings import WIDTH, bad

PATH = "/home/somebody/a-long-directory/with-hyphens/in-its-names/known_hosts-of-" + "x" * 10


def test_words_are_wrapped_and_paths_stay_whole() -> None:
    lines = bad(f"the key in {PATH} is another than before", f"remove it: ssh-keygen -f {PATH}").lines()
    assert sum(PATH in line for line in lines) == 2
    assert all(len(line) <= WIDTH or PATH in line for line in lines)
    assert lines[0].startswith("FAIL")
