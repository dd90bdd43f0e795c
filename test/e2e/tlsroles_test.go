// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// clearText is what servers say before TLS, by protocol: a greeting, and answers.
func clearText() map[string][]string {
	return map[string][]string{
		"smtp":     {"220 mail ESMTP\r\n", "250-mail\r\n250 STARTTLS\r\n", "220 go on\r\n"},
		"imap":     {"* OK mail\r\n", "* CAPABILITY IMAP4rev1 STARTTLS\r\n. OK done\r\n", ". OK go on\r\n"},
		"postgres": {"", "S"},
	}
}

// playClearText serves a protocol that begins in clear text, with the certificate of a folder.
func playClearText(protocol, address, folder string) error {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "server.pem"), filepath.Join(folder, "server.key"))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if err := speakClear(conn, clearText()[protocol]); err == nil {
					secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
					_, _ = io.Copy(secure, secure)
				}
			}()
		}
	}()
	return lab.UntilInputEnds()
}

// speakClear says the first text, and each further one after it has read a line. PostgreSQL's
// request has 8 bytes, and no text before it.
func speakClear(conn net.Conn, says []string) error {
	for i, text := range says {
		switch {
		case i > 0 && says[0] != "":
			if _, err := readLine(conn); err != nil {
				return err
			}
		case i > 0:
			if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return err
		}
	}
	return nil
}

// greeting is a handshake of playHandshakes.
type greeting struct {
	Name string
	Port int
}

// playHandshakes makes handshakes, 16 at once, each for a name of its own, with TLS 1.2 and 1.3 in
// turns. It prints each one's port.
func playHandshakes(address, first, number string) error {
	from, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	all, failed := make([]greeting, n), make([]error, n)
	var clients sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range n {
		slots <- struct{}{}
		clients.Go(func() {
			all[i].Name = fmt.Sprintf("v1%d-%d.shop.example", 2+i%2, from+i)
			all[i].Port, failed[i] = shakeHands(address, all[i].Name, tls.VersionTLS12+uint16(i%2))
			<-slots
		})
	}
	clients.Wait()
	return errors.Join(errors.Join(failed...), json.NewEncoder(os.Stdout).Encode(all))
}

// shakeHands asks for a page, and returns its port.
func shakeHands(address, name string, version uint16) (int, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{
		ServerName: name, InsecureSkipVerify: true, // what the server is does not matter
		MinVersion: version, MaxVersion: version,
	})
	if _, err := io.WriteString(client, "GET / HTTP/1.0\r\nHost: "+name+"\r\n\r\n"); err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, client)
	return conn.LocalAddr().(*net.TCPAddr).Port, err
}
