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
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// roles are what this test binary becomes inside a namespace.
func roles() map[string]lab.Role {
	return map[string]lab.Role{
		"server":     func(args []string) error { return playServer(args[0]) },
		"client":     func(args []string) error { return playClient(args[0]) },
		"hold":       lab.PlayHolder,
		"echo":       func(args []string) error { return playEcho(args[0]) },
		"models":     func(args []string) error { return playModels(args[0]) },
		"deaf":       func(args []string) error { return playDeaf(args[0], args[1]) },
		"callers":    func(args []string) error { return playCallers(args[0], args[1]) },
		"syn":        func(args []string) error { return playSYN(args[0]) },
		"churn":      func(args []string) error { return playChurn(args[0], args[1:]) },
		"flood":      lab.PlayFlood,
		"scan":       func(args []string) error { return playScan(args[0], args[1]) },
		"listeners":  func(args []string) error { return playListeners(args[0], args[1]) },
		"traced":     func(args []string) error { return playTraced(args[0]) },
		"web":        func(args []string) error { return playWeb(args[0]) },
		"drip":       func(args []string) error { return playDrip(args[0], args[1], args[2]) },
		"tls12":      func(args []string) error { return playTLS(args[0], args[1], args[2], tls.VersionTLS12) },
		"tls13":      func(args []string) error { return playTLS(args[0], args[1], args[2], tls.VersionTLS13) },
		"cleartext":  func(args []string) error { return playClearText(args[0], args[1], args[2]) },
		"handshakes": func(args []string) error { return playHandshakes(args[0], args[1], args[2]) },
		"rpcserver":  func(args []string) error { return playRPCServer(args[0], args[1]) },
		"rpcclient":  func(args []string) error { return playRPCClient(args[0]) },
		"socket":     func(args []string) error { return playSocket(args[0]) },
	}
}

// ask is a line that a client sends: how long an answer it wants, and what the
// server is to do next.
type ask struct {
	Reply int    `json:"reply"`
	Then  ending `json:"then"`
}

// ending is what one side does with a connection.
type ending string

const (
	// Both sides.
	next  ending = ""      // expect another ask
	fin   ending = "fin"   // close
	reset ending = "reset" // close with SO_LINGER 0
	eof   ending = "eof"   // read until the other side ends it, then close
	// Only the server.
	unread    ending = "unread"    // close while received bytes wait to be read
	impatient ending = "impatient" // give up after a second without an answer
)

// playServer answers clients on an address until its standard input ends.
func playServer(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go serve(conn.(*net.TCPConn))
	}
}

func serve(conn *net.TCPConn) {
	defer conn.Close()
	for {
		line, err := readLine(conn)
		if err != nil {
			return
		}
		var a ask
		if json.Unmarshal(line, &a) != nil {
			return
		}
		if a.Then == impatient {
			if err := beImpatient(conn); err != nil {
				return
			}
		}
		if _, err := conn.Write(make([]byte, a.Reply)); err != nil {
			return
		}
		switch a.Then {
		case next:
			continue
		case reset:
			// What is still unsent would be thrown away, and the client count less.
			waitQueue(conn, unix.TIOCOUTQ, func(bytes int) bool { return bytes == 0 })
			_ = conn.SetLinger(0)
		case unread:
			waitQueue(conn, unix.TIOCOUTQ, func(bytes int) bool { return bytes == 0 })
			waitQueue(conn, unix.TIOCINQ, func(bytes int) bool { return bytes > 0 })
		case eof, impatient:
			_, _ = io.Copy(io.Discard, conn)
		}
		return
	}
}

// readLine takes no byte beyond the line, so that what follows stays unread.
func readLine(from io.Reader) ([]byte, error) {
	var line []byte
	for b := make([]byte, 1); ; line = append(line, b[0]) {
		if _, err := io.ReadFull(from, b); err != nil {
			return nil, err
		}
		if b[0] == '\n' {
			return line, nil
		}
	}
}

func beImpatient(conn *net.TCPConn) error {
	return control(conn, func(fd int) error {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1000))
	})
}

// waitQueue returns when the bytes in the socket's queue are as wanted, or when the
// connection is gone.
func waitQueue(conn *net.TCPConn, queue uint, wanted func(bytes int) bool) {
	for {
		var bytes int
		err := control(conn, func(fd int) (err error) {
			bytes, err = unix.IoctlGetInt(fd, queue)
			return err
		})
		if err != nil || wanted(bytes) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func control(conn syscall.Conn, do func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = do(int(fd)) })
	return errors.Join(err, inner)
}

// step is one line that tells a client what to do.
type step struct {
	// Ask is sent to the server, and its reply read, where End is empty.
	Ask ask `json:"ask"`
	// Pad bytes follow the ask at once.
	Pad int `json:"pad,omitempty"`
	// End ends the connection.
	End ending `json:"end,omitempty"`
}

// tally is what a client counted so far; payload bytes.
type tally struct {
	Client         netip.AddrPort
	Sent, Received int64
	// Error is how the connection failed; "" when it did not.
	Error string
}

// playClient connects, then takes steps from its standard input and prints its tally
// once connected and after each step.
func playClient(target string) error {
	results := json.NewEncoder(os.Stdout)
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return results.Encode(tally{Error: err.Error()})
	}
	defer conn.Close()
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	sum := tally{Client: netip.AddrPortFrom(local.Addr().Unmap(), local.Port())}
	if err := results.Encode(sum); err != nil {
		return err
	}
	for steps := json.NewDecoder(os.Stdin); ; {
		var s step
		if err := steps.Decode(&s); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.take(conn.(*net.TCPConn), &sum); err != nil {
			sum.Error = err.Error()
		}
		if err := results.Encode(sum); err != nil || s.End != next {
			return err
		}
	}
}

// take does one step and adds to the tally.
func (s step) take(conn *net.TCPConn, sum *tally) error {
	switch s.End {
	case reset:
		if err := conn.SetLinger(0); err != nil {
			return err
		}
		return conn.Close()
	case fin:
		return conn.Close()
	case eof:
		n, err := io.Copy(io.Discard, conn)
		sum.Received += n
		return errors.Join(err, conn.Close())
	}
	line, err := json.Marshal(s.Ask)
	if err != nil {
		return err
	}
	n, err := conn.Write(append(append(line, '\n'), make([]byte, s.Pad)...))
	sum.Sent += int64(n)
	if err != nil {
		return err
	}
	got, err := io.CopyN(io.Discard, conn, int64(s.Ask.Reply))
	sum.Received += got
	return err
}

// playSYN sends a SYN that no socket stands behind, so that this host's kernel
// answers the SYN-ACK with a reset. IPv4 only. It prints the address it used.
func playSYN(target string) error {
	to, err := netip.ParseAddrPort(target)
	if err != nil {
		return err
	}
	own, err := addressTowards(to.Addr())
	if err != nil {
		return err
	}
	sender, err := lab.NewSYNSender()
	if err != nil {
		return err
	}
	defer sender.Close()
	from := netip.AddrPortFrom(own, 29999)
	if err := sender.Send(from, to, 1000); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(tally{Client: from})
}

// addressTowards is the address that the kernel sends from to another host.
func addressTowards(to netip.Addr) (netip.Addr, error) {
	conn, err := net.Dial("udp4", net.JoinHostPort(to.String(), "9")) // sends nothing
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}
