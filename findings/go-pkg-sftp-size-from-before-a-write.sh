#!/usr/bin/env bash
# Go's pkg/sftp server answers an FSTAT sent behind a WRITE with the size from before it.
#
# Expected: requests about one file are carried out in the order they were sent in (draft-ietf-secsh-filexfer-02, 6.1). Seen with
# golang-github-pkg-sftp-dev 1.13.5-2: WRITE and FSTAT by one handle, sent together, are answered in that order, WRITE with
# OK first, and then FSTAT with a size that lacks what was written, in a part of the rounds. The server gives
# requests to several workers and puts only the answers into order.
#
# Output seen (the count differs from run to run):
#   FSTAT behind an acknowledged WRITE lacked its bytes in 100 of 300 rounds
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
unpack golang-1.19-{go,src}=1.19.8-2 golang-github-pkg-sftp-dev=1.13.5-2 golang-github-kr-fs-dev=0.1.0-2 \
    golang-github-pkg-errors-dev=0.9.1-2 golang-golang-x-crypto-dev=1:0.4.0-1
cat > serve.go <<'GO'
package main

import (
	"io"
	"os"

	"github.com/pkg/sftp"
)

type stream struct {
	io.Reader
	io.WriteCloser
}

func main() {
	server, err := sftp.NewServer(stream{os.Stdin, os.Stdout})
	if err != nil {
		panic(err)
	}
	server.Serve()
}
GO
GOROOT=$folder/root/usr/lib/go-1.19 GOPATH=$folder/root/usr/share/gocode GO111MODULE=off GOFLAGS='' CGO_ENABLED=0 \
    GOCACHE=$folder/cache HOME=$folder root/usr/lib/go-1.19/bin/go build -o serve serve.go
timeout 60 python3 - "$folder/file" ./serve <<'PYTHON'
import struct, sys
from sftp_client import Client, status
client, rounds, lacking = Client(sys.argv[2:]), 300, 0
handle = client.open(sys.argv[1], 2 | 8 | 16)
name = struct.pack(">I", len(handle)) + handle.encode()
for end in range(4096, 4096 * (rounds + 1), 4096):
    data = bytes(4096)
    written, told = client.number + 1, client.number + 2
    client.number = told
    client.send(b"\x06" + struct.pack(">I", written) + name + struct.pack(">QI", end - 4096, 4096) + data)
    client.send(b"\x08" + struct.pack(">I", told) + name)
    assert status(*client.receive()) == 0
    kind, body = client.receive()
    assert kind == 105
    lacking += struct.unpack(">Q", body[4:12])[0] < end
print(f"FSTAT behind an acknowledged WRITE lacked its bytes in {lacking} of {rounds} rounds")
sys.exit(not lacking)
PYTHON
