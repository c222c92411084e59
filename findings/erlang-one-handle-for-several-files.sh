#!/usr/bin/env bash
# Erlang's SFTP server gives one handle to several open files, and the last of them is what it then reads.
#
# Expected: a handle names one open file until it is closed. Seen with erlang-ssh 25.2.3 (ssh-4.15.2): four OPENs of four
# files without a CLOSE between them give the handles 0, 1, 1, 1, and a READ of the second file returns
# the bytes of the fourth. Nothing in a reply tells; a client must refuse a handle that it holds already.
#
# Output seen:
#   handles: 0 1 1 1
#   READ of a, b, c, d: aaa ddd ddd ddd
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
prepare
unpack erlang-{base,ssh,crypto,public-key,asn1}=1:25.2.3+dfsg-1+deb12u4
mkdir system user
cp host system/ssh_host_ed25519_key
cp key.pub user/authorized_keys
for name in a b c d; do printf '%s' "$name$name$name" > "$name"; done
export ROOTDIR=$folder/root/usr/lib/erlang EMU=beam PROGNAME=erl HOME=$folder
export BINDIR=$(echo "$ROOTDIR"/erts-*/bin)
"$BINDIR/erlexec" -noshell -eval "application:ensure_all_started(ssh), {ok, _} = ssh:daemon({127,0,0,1}, $port,
  [{system_dir, \"$folder/system\"}, {user_dir, \"$folder/user\"}, {auth_methods, \"publickey\"},
   {subsystems, [ssh_sftpd:subsystem_spec([{cwd, \"$folder\"}])]}])." >server.log 2>&1 </dev/null &
await_server
timeout 60 python3 - "$folder" "${ssh[@]}" root@127.0.0.1 -s sftp <<'PYTHON'
import struct, sys
from sftp_client import Client, status
client = Client(sys.argv[2:])
handles = [client.open(f"{sys.argv[1]}/{name}", 1) for name in "abcd"]
read = [client.ask(5, handle, struct.pack(">QI", 0, 10))[1][4:].decode() for handle in handles]
print("handles:", *handles)
print("READ of a, b, c, d:", *read)
sys.exit(read != ["aaa", "ddd", "ddd", "ddd"])
PYTHON
