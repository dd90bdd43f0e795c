// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// TestSockDropsThatAreNoOverflows: a listening socket's drop counter grows with deferred
// accepts and with scans, and its accept queue was never full.
func TestSockDropsThatAreNoOverflows(t *testing.T) {
	const times = 40
	for name, provoke := range map[string]func(t *testing.T, l *rawListener){
		"deferred accepts": func(t *testing.T, l *rawListener) {
			require.NoError(t, unix.SetsockoptInt(l.fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 5))
			for range times {
				c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", l.port))
				require.NoError(t, err)
				_, err = c.Write([]byte("request"))
				require.NoError(t, err)
				fd, _, err := unix.Accept(l.fd)
				require.NoError(t, err)
				require.NoError(t, errors.Join(unix.Close(fd), c.Close()))
			}
		},
		"scan": func(t *testing.T, l *rawListener) {
			for i := range times {
				scanPort(t, uint16(20000+i), l.port)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			enterNetNS(t)
			needing(t, "queue")
			k := startAny(t, testConfig(perNamespace))
			l := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 64, true)
			q, ok := k.queuesOf(l.port)
			require.True(t, ok)
			provoke(t, l)
			deadline := time.Now().Add(10 * time.Second)
			for k.dropsOf(q.Socket) < times {
				require.True(t, time.Now().Before(deadline), "only %d drops", k.dropsOf(q.Socket))
			}
			q, ok = k.queuesOf(l.port)
			require.True(t, ok)
			assert.False(t, q.OverflowsUnread)
			assert.Zero(t, q.Overflows)
			l.close()
			k.until("end of the listener", func() bool { return len(k.unlistens) > 0 })
			assert.Zero(t, k.overflows[q.Socket])
		})
	}
}

// TestSockOverflowsAmongListeners: only one of several listeners dropped anything, or more
// than one did.
func TestSockOverflowsAmongListeners(t *testing.T) {
	enterNetNS(t)
	needing(t, "queue")
	k := startAny(t, testConfig(perNamespace))
	full := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, true)
	other := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, true)
	_, ok := k.queuesOf(other.port)
	require.True(t, ok)
	full.call(t, 2+5)
	ours, kernels := k.overflowed(full.port)
	assert.Equal(t, kernels, ours)
	q, ok := k.queuesOf(other.port)
	require.True(t, ok)
	assert.False(t, q.OverflowsUnread)
	assert.Zero(t, q.Overflows)

	attributed := ours
	other.call(t, 2+3)
	full.call(t, 3)
	before := netstat(t, "ListenOverflows")
	s, _ := k.snapshot(0)
	var rest uint64
	for _, o := range s.Overflows {
		if o.NetNS == k.netns {
			rest += o.N
		}
	}
	assert.GreaterOrEqual(t, rest, before-attributed)
	for _, l := range []*rawListener{full, other} {
		q, ok := k.queuesOf(l.port)
		require.True(t, ok)
		assert.LessOrEqual(t, q.Overflows, attributed, "it may have been the other one")
	}
}

// A namespace without a process of a listener cannot be read. Its count is absent, not 0.
func TestSockOverflowsOfANamespaceThatCannotBeRead(t *testing.T) {
	enterNetNS(t)
	needing(t, "queue")
	const port = 18085
	k := startAny(t, testConfig(perNamespace, onlyPort(port)))
	// Its thread is inside, but its process is not.
	wire.NewPeer(t).In(func() {
		setLoopback(t, true)
		listenOn(t, port, 1).call(t, 2+3)
	})
	k.settle()
	s, _ := k.snapshot(0)
	require.Len(t, s.Queues, 1)
	assert.True(t, s.Queues[0].OverflowsUnread)
	assert.Zero(t, s.Queues[0].Overflows)
	assert.EqualValues(t, 2, s.Queues[0].Accept)
}

// dropsOf is a listening socket's own drop counter.
func (k *kernel) dropsOf(socket uint64) (drops uint32) {
	k.t.Helper()
	require.NoError(k.t, k.probe.sockets.Listeners.Queues.Each(func(r *shared.ListenerLook) {
		if r.Sk == socket {
			drops = r.Drops
		}
	}))
	return drops
}

// scanPort sends a SYN on loopback from a port without a socket, so that the kernel resets the
// handshake when the SYN-ACK arrives.
func scanPort(t *testing.T, from, to uint16) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	require.NoError(t, err)
	defer unix.Close(fd)
	loopback := [4]byte{127, 0, 0, 1}
	const header = 20
	segment := make([]byte, header)
	binary.BigEndian.PutUint16(segment[0:], from)
	binary.BigEndian.PutUint16(segment[2:], to)
	segment[12], segment[13] = header/4<<4, 0x02
	binary.BigEndian.PutUint16(segment[14:], 65535)
	pseudo := append(append(append([]byte{}, loopback[:]...), loopback[:]...), 0, unix.IPPROTO_TCP, 0, header)
	binary.BigEndian.PutUint16(segment[16:], checksum(append(pseudo, segment...)))
	require.NoError(t, unix.Sendto(fd, segment, 0, &unix.SockaddrInet4{Addr: loopback}))
}

func checksum(data []byte) uint16 {
	var sum uint32
	for i := 0; i < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// queueOrder orders to listen, or to connect.
type queueOrder struct {
	Port           uint16
	Backlog, Calls int
}

// untilOverflows waits for a number of overflows in this process's namespace.
func untilOverflows(least uint64) (overflows uint64, err error) {
	for deadline := time.Now().Add(10 * time.Second); overflows < least && time.Now().Before(deadline); {
		if overflows, err = readNetstat("ListenOverflows"); err != nil {
			return 0, err
		}
	}
	return overflows, nil
}

// playQueue listens, and then connects to itself. It reports that it listens, then the
// kernel's count of overflows.
func playQueue(orders *json.Decoder, reports *json.Encoder) error {
	var order queueOrder
	if err := orders.Decode(&order); err != nil {
		return err
	}
	address := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(order.Port)}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Bind(fd, address), unix.Listen(fd, order.Backlog), reports.Encode(true)); err != nil {
		return err
	}
	for {
		if err := orders.Decode(&order); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for range order.Calls {
			caller, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
			if err != nil {
				return err
			}
			if err := unix.Connect(caller, address); !errors.Is(err, unix.EINPROGRESS) {
				return fmt.Errorf("connect: %w", err)
			}
		}
		overflows, err := untilOverflows(uint64(order.Calls - order.Backlog - 1))
		if err := errors.Join(err, reports.Encode(overflows)); err != nil {
			return err
		}
	}
}
