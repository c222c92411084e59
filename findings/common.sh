# Sourced by the findings: a temporary folder to work in, which goes at the end with what was started there.
# shellcheck shell=bash
set -euo pipefail
PYTHONPATH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) # for sftp_client.py
export PYTHONPATH PYTHONDONTWRITEBYTECODE=1
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || :; rm -rf "$folder"' EXIT
cd "$folder"

# unpack NAME=VERSION …: Debian packages into ./root
unpack() {
    local package
    apt-get download -qq "$@" 2>/dev/null
    for package in ./*.deb; do dpkg -x "$package" root; done
}

# install NAME==VERSION …: packages of PyPI into ./venv
install() {
    python3 -m venv venv
    venv/bin/pip install -q --disable-pip-version-check "$@" 2>/dev/null
}

# prepare: key pairs ./host and ./key, a free $port, and "${ssh[@]}" to reach the server there
prepare() {
    ssh-keygen -q -t ed25519 -N "" -f host
    ssh-keygen -q -t ed25519 -N "" -f key
    port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    ssh=(ssh -i "$folder/key" -p "$port" -oIdentitiesOnly=yes -oBatchMode=yes -oLogLevel=ERROR
        -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null)
}

# await_server: until something listens on $port
await_server() {
    local _
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
        sleep 0.2
    done
}

# serve_erlang VERSION: the SFTP server of Erlang's ssh, from Debian's packages, over $folder
serve_erlang() {
    unpack erlang-{base,ssh,crypto,public-key,asn1}="$1"
    mkdir system user
    cp host system/ssh_host_ed25519_key
    cp key.pub user/authorized_keys
    export ROOTDIR=$folder/root/usr/lib/erlang EMU=beam PROGNAME=erl HOME=$folder
    BINDIR=$(echo "$ROOTDIR"/erts-*/bin)
    export BINDIR
    "$BINDIR/erlexec" -noshell -eval "application:ensure_all_started(ssh), {ok, _} = ssh:daemon({127,0,0,1}, $port,
      [{system_dir, \"$folder/system\"}, {user_dir, \"$folder/user\"}, {auth_methods, \"publickey\"},
       {subsystems, [ssh_sftpd:subsystem_spec([{cwd, \"$folder\"}])]}])." >server.log 2>&1 </dev/null &
    await_server
}
