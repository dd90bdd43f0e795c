// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The roles are what this test binary becomes inside a namespace: goroutines can't
// be in another one than their process without risk to the rest of the tests.

// play takes the named role until its work is done.
func play(role string, args []string) error {
	switch role {
	case "server":
		return playServer(args[0])
	case "client":
		return playClient(args[0])
	case "crowd":
		return playCrowd(args[0], args[1])
	case "deaf":
		return playDeaf(args[0], args[1])
	case "callers":
		return playCallers(args[0], args[1])
	case "syn":
		return playSYN(args[0])
	case "churn":
		return playChurn(args[0], args[1:])
	case "flood":
		return playFlood(args[0], args[1], args[2])
	case "scan":
		return playScan(args[0], args[1])
	case "listeners":
		return playListeners(args[0], args[1])
	default:
		return errors.New("no such role")
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

// playCrowd opens count connections, says so, and closes them when its standard
// input ends.
func playCrowd(target, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	for range n {
		conn, err := net.Dial("tcp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
	}
	fmt.Println("ready")
	_, err = bufio.NewReader(os.Stdin).WriteTo(io.Discard)
	return err
}

// playSYN sends a SYN that no socket stands behind, so that this host's kernel
// answers the SYN-ACK with a reset. IPv4 only. It prints the address it used.
func playSYN(target string) error {
	to, err := netip.ParseAddrPort(target)
	if err != nil {
		return err
	}
	conn, err := net.DialIP("ip4:tcp", nil, &net.IPAddr{IP: to.Addr().AsSlice()})
	if err != nil {
		return err
	}
	defer conn.Close()
	from, _ := netip.AddrFromSlice(conn.LocalAddr().(*net.IPAddr).IP)
	const port = 29999
	segment := make([]byte, 20)
	binary.BigEndian.PutUint16(segment[0:], port)
	binary.BigEndian.PutUint16(segment[2:], to.Port())
	binary.BigEndian.PutUint32(segment[4:], 1000)
	segment[12], segment[13] = 5<<4, 0x02
	binary.BigEndian.PutUint16(segment[14:], 64240)
	binary.BigEndian.PutUint16(segment[16:], checksum(from.Unmap(), to.Addr(), segment))
	if _, err := conn.Write(segment); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(tally{Client: netip.AddrPortFrom(from.Unmap(), port)})
}

// checksum is TCP's over IPv4, with the segment's own checksum still zero.
func checksum(from, to netip.Addr, segment []byte) uint16 {
	f, d := from.As4(), to.As4()
	data := append(append(f[:], d[:]...), 0, unix.IPPROTO_TCP, 0, byte(len(segment)))
	data = append(data, segment...)
	var sum uint32
	for i := 0; i < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
