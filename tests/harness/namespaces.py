"""Commands in a mount namespace of their own, without the FUSE mounts of tests that run beside this one.

A new namespace has copies of all mounts: a server that enters the mount it serves waits for itself, and a
copy keeps a mount alive that was unmounted elsewhere.
"""

from __future__ import annotations

WITHOUT_FUSE = """
while read -r _ place type _; do
    case $type in fuse|fuse.*) ;; *) continue ;; esac
    place=$(printf %b. "$place"); place=${place%.}
    [ "$place" = "$keep" ] || umount -i -l "$place" || :
done <<MOUNTS
$(cat /proc/self/mounts)
MOUNTS
"""
"""Takes off every FUSE mount but the one at ``$keep``. The kernel writes blanks in names as octal numbers."""


def apart(script: str = 'exec "$@"', *, keep: str = "", options: tuple[str, ...] = ()) -> list[str]:
    """The words before a command that shell ``script`` runs in a mount namespace of its own.

    The command's words are the script's ``$@``. ``keep``: a mountpoint the namespace has all the same.
    ``options``: further ones of unshare(1).
    """
    return [
        *("unshare", "--mount", "--propagation", "private", *options),
        *("sh", "-c", f"keep=$1; shift\n{WITHOUT_FUSE}\nset -e\n{script}", "sh", keep),
    ]
