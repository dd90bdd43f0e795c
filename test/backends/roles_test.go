// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package backends

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// roles are what this test binary becomes inside a namespace.
func roles() map[string]lab.Role {
	return map[string]lab.Role{
		"call":  func(args []string) error { return playCallers(args[0], args[1]) },
		"serve": func(args []string) error { return playServer(args[0], args[1]) },
		"deaf":  func(args []string) error { return playDeaf(args[0], args[1]) },
		"visit": func(args []string) error { return playVisitors(args[0], args[1], args[2], args[3]) },
		"syn":   func(args []string) error { return playSYNs(args[0], args[1], args[2]) },
		"knock": func(args []string) error { return playKnockers(args[0], args[1]) },
	}
}

// answer is what a server sends.
const answer = "0123456789"

// playServer serves an address until its input ends. Its manner is how it ends connections: "end"
// closes after an answer, "wait" lets the client close, "reset" resets instead of an answer, and
// "slow" waits before it accepts.
func playServer(manner, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	go func() {
		<-lab.InputEnds()
		os.Exit(0)
	}()
	fmt.Println("ready")
	for {
		if manner == "slow" {
			time.Sleep(acceptPause)
		}
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go serve(conn.(*net.TCPConn), manner)
	}
}

// acceptPause is how long a slow server waits before each accept.
const acceptPause = 60 * time.Millisecond

func serve(conn *net.TCPConn, manner string) {
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 64)); err != nil {
		return
	}
	if manner == "reset" {
		_ = conn.SetLinger(0)
		return
	}
	_, _ = io.WriteString(conn, answer)
	if manner == "wait" {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// playDeaf listens with a backlog and accepts nobody, until its input ends.
func playDeaf(address, backlog string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("where to listen: %w", err)
	}
	length, err := strconv.Atoi(backlog)
	if err != nil {
		return fmt.Errorf("backlog: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	if err := errors.Join(unix.Bind(fd, lab.SocketAddress(at)), unix.Listen(fd, length)); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return lab.UntilInputEnds()
}

// playCallers begins COUNT connections without waiting for them, and holds them until its input
// ends.
func playCallers(address, count string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("where to connect: %w", err)
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return fmt.Errorf("how many: %w", err)
	}
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("make a socket: %w", err)
		}
		if err := unix.Connect(fd, lab.SocketAddress(to)); !errors.Is(err, unix.EINPROGRESS) {
			return fmt.Errorf("connect: %w", err)
		}
	}
	return lab.UntilInputEnds()
}

// visits are what clients did, each byte of payload counted once.
type visits struct {
	lab.Work
	Sent, Received int64
}

// leavePath is a path whose visitors leave as soon as they have the answer.
const leavePath = "/leave"

// playVisitors makes COUNT connections one after the other, from the addresses of POOL in turn. Each
// sends a request for PATH and reads to the end.
func playVisitors(address, count, pool, path string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return fmt.Errorf("how many: %w", err)
	}
	from, err := netip.ParsePrefix(pool)
	if err != nil {
		return fmt.Errorf("from where: %w", err)
	}
	var did visits
	own := from.Addr()
	for range n {
		did.visit(address, own, "GET "+path+" HTTP/1.0\r\n\r\n")
		if own = own.Next(); !from.Contains(own) {
			own = from.Addr()
		}
	}
	return json.NewEncoder(os.Stdout).Encode(did)
}

func (v *visits) visit(address string, from netip.Addr, request string) {
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: settle}
	conn, err := dialer.Dial("tcp", address)
	if err == nil {
		defer conn.Close()
		var n int
		n, err = io.WriteString(conn, request)
		v.Sent += int64(n)
	}
	if err == nil {
		// A server that waits for the client's end sends no more than the answer.
		leave := strings.Contains(request, leavePath)
		buffer := make([]byte, 4096)
		for err == nil {
			var n int
			n, err = conn.Read(buffer)
			v.Received += int64(n)
			if leave && string(buffer[:n]) == answer {
				break
			}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	v.Count(err)
}

// playKnockers begins COUNT connections that nobody may accept, and gives up at once.
func playKnockers(address, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return fmt.Errorf("how many: %w", err)
	}
	var did lab.Work
	for range n {
		conn, err := net.DialTimeout("tcp", address, settle)
		if err == nil {
			err = conn.Close()
		}
		did.Count(err)
	}
	return did.Tell()
}

// playSYNs sends COUNT SYNs from the addresses of POOL in turn. Nothing answers the SYN-ACKs.
func playSYNs(address, count, pool string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("where to: %w", err)
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return fmt.Errorf("how many: %w", err)
	}
	from, err := netip.ParsePrefix(pool)
	if err != nil {
		return fmt.Errorf("from where: %w", err)
	}
	sender, err := lab.NewSYNSender()
	if err != nil {
		return err
	}
	defer sender.Close()
	var did lab.Work
	own := from.Addr()
	for i := range n {
		did.Count(sender.Send(netip.AddrPortFrom(own, uint16(40000+i)), to, uint32(i)))
		if own = own.Next(); !from.Contains(own) {
			own = from.Addr()
		}
	}
	return did.Tell()
}
