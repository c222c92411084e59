#!/usr/bin/env bash
# Erlang's SFTP server empties a file that is opened to be written, though nobody asked it to.
#
# Expected: OPEN with WRITE and without TRUNC leaves what is there (draft-ietf-secsh-filexfer-02, 6.3). Seen with erlang-ssh
# 25.2.3 (ssh-4.15.2): the flags go to file:open as they are, and [write] alone truncates there. Opened with READ and
# WRITE the file keeps its bytes, also where it is written then.
#
# Output seen:
#   OPEN with WRITE, CLOSE: 0 bytes of 7 left
#   OPEN with READ and WRITE, CLOSE: 7 bytes of 7 left
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
prepare
unpack erlang-{base,ssh,crypto,public-key,asn1}=1:25.2.3+dfsg-1+deb12u4
mkdir system user
cp host system/ssh_host_ed25519_key
cp key.pub user/authorized_keys
export ROOTDIR=$folder/root/usr/lib/erlang EMU=beam PROGNAME=erl HOME=$folder
export BINDIR=$(echo "$ROOTDIR"/erts-*/bin)
"$BINDIR/erlexec" -noshell -eval "application:ensure_all_started(ssh), {ok, _} = ssh:daemon({127,0,0,1}, $port,
  [{system_dir, \"$folder/system\"}, {user_dir, \"$folder/user\"}, {auth_methods, \"publickey\"},
   {subsystems, [ssh_sftpd:subsystem_spec([{cwd, \"$folder\"}])]}])." >server.log 2>&1 </dev/null &
await_server
timeout 60 python3 - "$folder" "${ssh[@]}" root@127.0.0.1 -s sftp <<'PYTHON'
import os, sys
from sftp_client import Client
client, name = Client(sys.argv[2:]), sys.argv[1] + "/file"
left = []
for said, flags in (("WRITE", 2), ("READ and WRITE", 1 | 2)):
    with open(name, "w") as file:
        file.write("content")
    client.ask(4, client.open(name, flags))
    left.append(os.path.getsize(name))
    print(f"OPEN with {said}, CLOSE: {left[-1]} bytes of 7 left")
sys.exit(left != [0, 7])
PYTHON
