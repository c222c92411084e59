"""Seeds that once found something in a mount of ours: run always. (theme, seed, what it was)"""

from __future__ import annotations

CORPUS: tuple[tuple[str, int, str], ...] = (
    ("listings", 4, "a name made while its directory left the cache was missing from its listing"),
    ("links", 6, "a name replaced by another client read as another file"),
    ("links", 7, "a write to one name of a hard link landed in another file"),
    ("links", 14, "a file open here and replaced there was missing"),
    ("links", 22, "the same"),
    ("links", 31, "an open that empties emptied another file"),
    ("links", 1047, "another name of a hard link read as the first name's new file"),
    ("links", 1048, "a truncation of a replaced name was shown by who had the old file open"),
    ("links", 1011, "a truncation of one name of a hard link cut the file that replaced the other"),
    ("renames", 1, "a create in a directory being renamed found no directory"),
    ("renames", 1044, "a listing of a directory being renamed found nothing"),
    ("resets", 13, "a file written through two handles was stale after a reset"),
    ("resets", 14, "times set on a file written meanwhile were stale after a reset"),
    ("resets", 30, "two handles and one reset: fsync was stale"),
    ("resets", 1006, "the same"),
    ("bulk", 2, "the same"),
    ("bulk", 6, "the same"),
    ("errors", 2, "a failed write was told to a child, and then to nobody"),
    ("errors", 15, "fsync by a read-only descriptor returned 0 though a write had failed"),
    ("logs", 1, "a log appended to by two clients read torn"),
    ("clocks", 1, "a directory made, its reply lost, was told EEXIST where the clocks were apart"),
)
