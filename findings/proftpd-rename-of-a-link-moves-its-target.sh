#!/usr/bin/env bash
# ProFTPD's SFTP server renames what a symbolic link leads to, and leaves the link dangling.
#
# Expected: RENAME of a link renames the link, as rename(2) and OpenSSH have it. Seen with ProFTPD 1.3.8+dfsg-4+deb12u5,
# mod_sftp: RENAME of link, which leads to target, as moved answers OK; after it moved is the file that target was,
# target is gone, and link is still there, leading nowhere. LSTAT of a link tells of the file it leads to, so that a client does not
# see which names are links, and `ln -sfn`, which renames, is not safe there.
#
# Output seen:
#   LSTAT of the link: a regular file
#   RENAME of the link: status 0
#   left: link -> target, moved (file)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
prepare
unpack proftpd-core=1.3.8+dfsg-4+deb12u5 proftpd-mod-crypto=1.3.8+dfsg-4+deb12u5
mkdir served
echo text > served/target
ln -s target served/link
ssh-keygen -e -f key.pub > keys
printf '%s:*:%s:%s::%s:/bin/sh\n' "$(id -un)" "$(id -u)" "$(id -g)" "$folder" > passwd
chmod 600 passwd
cat > proftpd.conf <<CONF
ModulePath $folder/root/usr/lib/proftpd
LoadModule mod_sftp.c
ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
Port $port
User $(id -un)
Group $(id -gn)
UseReverseDNS off
AuthOrder mod_auth_file.c
AuthUserFile $folder/passwd
RequireValidShell off
RootLogin on
UseFtpUsers off
WtmpLog off
PidFile $folder/pid
ScoreboardFile $folder/scoreboard
DelayEngine off
SFTPEngine on
SFTPLog $folder/sftp.log
SFTPHostKey $folder/host
SFTPAuthorizedUserKeys file:$folder/keys
SFTPAuthMethods publickey
CONF
root/usr/sbin/proftpd -n -q -c "$folder/proftpd.conf" >server.log 2>&1 </dev/null &
await_server
timeout 60 python3 - "$folder/served" "${ssh[@]}" "$(id -un)@127.0.0.1" -s sftp <<'PYTHON'
import os, stat, struct, sys
from sftp_client import Client, status
served = sys.argv[1]
client = Client(sys.argv[2:])
kind, body = client.ask(7, served + "/link")
(mode,) = struct.unpack(">I", body[20:24])  # behind flags, size, uid and gid
renamed = status(*client.ask(18, served + "/link", served + "/moved"))
left = {
    name: "-> " + os.readlink(f"{served}/{name}") if os.path.islink(f"{served}/{name}") else "(file)"
    for name in sorted(os.listdir(served))
}
print("LSTAT of the link:", "a regular file" if stat.S_ISREG(mode) else oct(mode))
print("RENAME of the link: status", renamed)
print("left:", ", ".join(map(" ".join, left.items())))
sys.exit(not (stat.S_ISREG(mode) and renamed == 0 and left == {"link": "-> target", "moved": "(file)"}))
PYTHON
