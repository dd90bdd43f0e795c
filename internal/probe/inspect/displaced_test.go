// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package inspect

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/exchange"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// Of each connection, at most joinBytes of a body cross in a second while others displace it,
// and headWindow behind each head.
const (
	joinBytes  = 16384
	headWindow = 32768 + 65536
	largeBody  = 100 << 20
)

// crowd follows connections whose entries displace each other.
type crowd struct {
	*rig
	table *exchange.Table
	// crossed are bytes by client.
	crossed  map[uint16]int
	answered map[string]int
	alone    []string
}

func (c *crowd) Segment(on *request.Connection, s *stream.Segment) {
	c.crossed[on.Client.Port()] += len(s.Data)
	c.table.Segment(on, s)
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	c := &crowd{
		rig:     startRig(t, config(func(cfg *settings.Config) { cfg.Inspect.MaxConnections = 64 })),
		crossed: map[uint16]int{}, answered: map[string]int{},
	}
	c.table = exchange.New(exchange.Options{
		Options: stream.Options{
			Want: func(key *exchange.Key, d stream.Direction, seq uint32) { c.Want(key.NetNS, &key.Flow, d, seq) },
			Passed: func(key *exchange.Key, d stream.Direction) (uint32, int64) {
				return c.Passed(key.NetNS, &key.Flow, d)
			},
		},
		MaxConnections: 64, MaxBytes: 1 << 20,
		Forget: func(key *exchange.Key) { c.Forget(key.NetNS, &key.Flow) },
		Report: func(e *request.Exchange) {
			if e.Problem != request.ProblemNone || e.Status != 200 {
				c.alone = append(c.alone, fmt.Sprintf("%v %s %d %v", e.Client, e.Target, e.Status, e.Problem))
				return
			}
			c.answered[string(e.Target)]++
		},
	})
	return c
}

// dialSameSet opens connections whose entries are in one set.
func (c *crowd) dialSameSet(number int) []net.Conn {
	c.t.Helper()
	server := netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", serverPort))
	var conns []net.Conn
	for port := uint16(20000); len(conns) < number; port++ {
		f := flow.Flow{Client: netip.AddrPortFrom(server.Addr(), port), Server: server}
		if c.words.hash(c.context.OwnNetNS, &f)&c.words.mask != 0 {
			continue
		}
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(f.Client)}
		conn, err := dialer.DialContext(c.t.Context(), "tcp", server.String())
		require.NoError(c.t, err)
		conns = append(conns, conn)
	}
	return conns
}

// segmentLo turns off what makes lo pass super-packets.
func segmentLo(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	for _, command := range []uint32{unix.ETHTOOL_STSO, unix.ETHTOOL_SGSO} {
		request := struct {
			name [unix.IFNAMSIZ]byte
			data *[2]uint32
			_    [16]byte
		}{name: [unix.IFNAMSIZ]byte{'l', 'o'}, data: &[2]uint32{command, 0}}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
		require.Zero(t, errno)
	}
	// As on a real link, since the MTU of lo is that of a super-packet.
	mtu := struct {
		name [unix.IFNAMSIZ]byte
		mtu  int32
		_    [20]byte
	}{name: [unix.IFNAMSIZ]byte{'l', 'o'}, mtu: 1500}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFMTU, uintptr(unsafe.Pointer(&mtu)))
	require.Zero(t, errno)
}

// TestInspectDisplaced: more connections than an entry's set has ways download large files at
// once. No request is lost, and little of the bodies crosses.
func TestInspectDisplaced(t *testing.T) {
	for _, segmented := range []bool{false, true} {
		t.Run(fmt.Sprintf("segmented %v", segmented), func(t *testing.T) {
			inNetNS(t)
			if segmented {
				segmentLo(t)
			}
			inspectDisplaced(t)
		})
	}
}

func inspectDisplaced(t *testing.T) {
	t.Helper()
	const number, requests = 6, 4
	file := filepath.Join(t.TempDir(), "large")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	size := int64(largeBody)
	if wire.Emulated() {
		size /= 10
	}
	require.NoError(t, os.Truncate(file, size))
	c := newCrowd(t)
	serve(t, fmt.Sprintf("127.0.0.1:%d", serverPort), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			http.ServeFile(w, r, file)
			return
		}
		_, _ = io.WriteString(w, "small")
	})
	began := time.Now()
	done := make(chan error, number)
	// Each has asked before one goes on. Else a single processor may let one end before the
	// next begins, and none is displaced.
	var asked sync.WaitGroup
	asked.Add(number)
	for _, conn := range c.dialSameSet(number) {
		go func() {
			done <- download(conn, func() { asked.Done(); asked.Wait() }, "/small", "/large", "/small", "/large")
		}()
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for left := number; left > 0; {
		select {
		case err := <-done:
			require.NoError(t, err)
			left--
		case <-ticker.C:
			c.Drain(c)
		}
	}
	for c.Drain(c) {
	}
	c.table.Finish()
	figures, err := c.Figures()
	require.NoError(t, err)
	seconds := int(time.Since(began).Seconds()) + 2
	t.Logf("%d s, %d displaced, %d segments not joined, bytes that crossed: %v, alone: %v", seconds, figures.Displaced, figures.Unjoined, c.crossed, c.alone)
	assert.NotZero(t, figures.Displaced)
	assert.Zero(t, figures.Lost)
	assert.Equal(t, map[string]int{"/small": 2 * number, "/large": 2 * number}, c.answered)
	for _, bytes := range c.crossed {
		assert.LessOrEqual(t, bytes, requests*headWindow+seconds*joinBytes)
	}
}

// TestInspectDisplacedUploads: connections that displace each other send text whose segments all
// begin with a capital letter, as base64 often does. It crosses no faster than other bodies, and
// each request is seen.
func TestInspectDisplacedUploads(t *testing.T) {
	inNetNS(t)
	const number = 6
	size := 8 << 20
	if wire.Emulated() {
		size /= 10
	}
	c := newCrowd(t)
	serve(t, fmt.Sprintf("127.0.0.1:%d", serverPort), func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, r.Method)
	})
	began := time.Now()
	done := make(chan error, number)
	for _, conn := range c.dialSameSet(number) {
		go func() {
			done <- upload(conn, strings.Repeat("THE QUICK BROWN FOX, ", size/21), "PROPFIND", "PUT", "X-ODD")
		}()
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for left := number; left > 0; {
		select {
		case err := <-done:
			require.NoError(t, err)
			left--
		case <-ticker.C:
			c.Drain(c)
		}
	}
	for c.Drain(c) {
	}
	c.table.Finish()
	figures, err := c.Figures()
	require.NoError(t, err)
	seconds := int(time.Since(began).Seconds()) + 2
	t.Logf("%d s, %d displaced, %d segments not joined, bytes that crossed: %v, alone: %v", seconds, figures.Displaced, figures.Unjoined, c.crossed, c.alone)
	assert.NotZero(t, figures.Displaced)
	assert.Zero(t, figures.Lost)
	assert.Equal(t, map[string]int{"/PROPFIND": number, "/PUT": number, "/X-ODD": number}, c.answered)
	for _, bytes := range c.crossed {
		assert.LessOrEqual(t, bytes, 3*headWindow+seconds*joinBytes)
	}
}

// upload sends a body with each method, and reads the answers. The segments begin anywhere in it.
func upload(conn net.Conn, body string, methods ...string) error {
	defer conn.Close()
	from := bufio.NewReader(conn)
	for _, method := range methods {
		request := fmt.Sprintf("%s /%[1]s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", method, len(body))
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
		for rest := body; rest != ""; rest = rest[min(2100, len(rest)):] {
			if _, err := io.WriteString(conn, rest[:min(2100, len(rest))]); err != nil {
				return err
			}
		}
		answer, err := http.ReadResponse(from, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return err
		}
	}
	return nil
}

// download asks for paths one after the other, and reads the answers. It calls begun once it
// read the first, or failed.
func download(conn net.Conn, begun func(), paths ...string) error {
	defer conn.Close()
	var once sync.Once
	defer once.Do(begun)
	from := bufio.NewReaderSize(conn, 1<<16)
	for _, path := range paths {
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path); err != nil {
			return err
		}
		answer, err := http.ReadResponse(from, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return err
		}
		once.Do(begun)
	}
	return nil
}
