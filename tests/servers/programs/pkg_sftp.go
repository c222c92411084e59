// Go's pkg/sftp behind x/crypto/ssh, for one key: as the package's example does it.
package main

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"os"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

func serve(connection net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(connection, config)
	if err != nil {
		log.Print(err)
		return
	}
	go ssh.DiscardRequests(requests)
	for wanted := range channels {
		if wanted.ChannelType() != "session" {
			wanted.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := wanted.Accept()
		if err != nil {
			continue
		}
		go func() {
			for request := range requests {
				request.Reply(request.Type == "subsystem" && string(request.Payload[4:]) == "sftp", nil)
			}
		}()
		go func() {
			server, err := sftp.NewServer(channel)
			if err != nil {
				log.Print(err)
				return
			}
			if err := server.Serve(); err != nil && err != io.EOF {
				log.Print(err)
			}
			channel.Close()
		}()
	}
}

func main() {
	private, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	host, err := ssh.ParsePrivateKey(private)
	if err != nil {
		log.Fatal(err)
	}
	public, err := os.ReadFile(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	client, _, _, _, err := ssh.ParseAuthorizedKey(public)
	if err != nil {
		log.Fatal(err)
	}
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if bytes.Equal(key.Marshal(), client.Marshal()) {
				return nil, nil
			}
			return nil, errors.New("another key")
		},
	}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(connection, config)
	}
}
