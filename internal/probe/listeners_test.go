// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

// Overflows after the last reading of a listener, or while other listeners are unknown, can
// be another's.
func TestSockOverflowsOfAListenerThatEnds(t *testing.T) {
	needing(t, "queue")
	for name, test := range map[string]struct {
		ringBytes uint32
		looks     bool
	}{
		"looked at": {1 << 20, true}, "ended since": {1 << 20, false}, "ring full": {4096, false},
	} {
		t.Run(name, func(t *testing.T) {
			enterNetNS(t)
			k := startAny(t, testConfig(perNamespace, func(c *Config) { c.RingBytes = test.ringBytes; c.OpenRecords = false }))
			l := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, true)
			k.until("listener", func() bool { _, ok := k.listenerOn(l.port); return ok })
			listener, _ := k.listenerOn(l.port)
			l.call(t, 2+7)
			if test.looks {
				k.overflowed(l.port)
			}
			if test.ringBytes == 4096 {
				for range 60 { // more than 4 KiB hold
					listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, true)
				}
			}
			l.close()
			overflows := netstat(t, "ListenOverflows")
			k.settle()
			s, _ := k.snapshot(0)
			if test.ringBytes == 4096 {
				require.Positive(t, s.Ledger.Lost[ledger.Listener][ledger.RingFull])
			}
			require.Contains(t, k.unlistens, listener.Socket)
			var rest uint64
			for _, o := range s.Overflows {
				if o.NetNS == k.netns {
					rest += o.N
				}
			}
			assert.GreaterOrEqual(t, overflows, uint64(7))
			assert.Equal(t, overflows, k.overflows[listener.Socket]+rest)
			if !test.looks {
				assert.Equal(t, overflows, rest)
			}
			var entry shared.Listener
			if k.probe.maps.Maps["listeners"].Lookup(&listener.Socket, &entry) == nil {
				assert.NotEqual(t, k.netns, entry.Netns, "it is another's by now")
			}
		})
	}
}

// If hooks count overflows, their count is reported and not the listener's drops.
func TestSockOverflowsThatHooksCount(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig(), "queue")
	k.probe.sockets.Listeners.CountOverflows(true, false)
	l := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, true)
	l.call(t, 2+3)
	q, ok := k.queuesOf(l.port)
	require.True(t, ok)
	require.Zero(t, q.Overflows)

	entries := k.probe.maps.Maps["listeners"]
	var entry shared.Listener
	require.NoError(t, entries.Lookup(&q.Socket, &entry))
	entry.Overflows = 9 // as count_overflow does
	require.NoError(t, entries.Put(&q.Socket, &entry))
	q, _ = k.queuesOf(l.port)
	assert.EqualValues(t, 9, q.Overflows)
	l.close()
	k.until("end of the listener", func() bool { return len(k.unlistens) > 0 })
	assert.Equal(t, map[uint64]uint64{q.Socket: 9}, k.overflows)
}

func TestSockListenersMapFull(t *testing.T) {
	const size, wanted = 16, 40
	enterNetNS(t)
	old := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, true)
	k := startProbe(t, testConfig(func(c *Config) { c.MaxListeners = size }), "queue")
	for range wanted {
		listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, true)
	}
	k.until("listeners", func() bool { return len(k.listeners) == wanted+1 })
	_, known := k.listenerOn(old.port)
	assert.True(t, known, "told of, whether or not there was room")
	s, _ := k.snapshot(0)
	assert.LessOrEqual(t, len(s.Queues), size)
	assert.Equal(t, len(k.facts.listeners)-len(s.Queues), len(k.lost), "%v", k.lost)
	for _, lost := range k.lost {
		assert.Equal(t, "listener: kernel_map full (1)", lost)
	}
	assert.Contains(t, s.Maps, MapFill{"listeners", size, size})
}

// The kernel chooses the port of an unbound socket after it has announced LISTEN.
func TestSockListenerThatBindsNoPort(t *testing.T) { testBindsNoPort(t, unix.IPPROTO_TCP) }

func TestSockMultipathListenerThatBindsNoPort(t *testing.T) {
	testbed.NeedKernel(t, testbed.MultipathTCP)
	testBindsNoPort(t, unix.IPPROTO_MPTCP)
}

func testBindsNoPort(t *testing.T, protocol int) {
	enterNetNS(t)
	k := startProbe(t, testConfig(), "queue")
	l := listenWith(t, unix.AF_INET, protocol, 3, false)
	require.NotZero(t, l.port)
	q, ok := k.queuesOf(l.port)
	require.True(t, ok)
	assert.EqualValues(t, 3, q.AcceptLimit)
	require.Len(t, k.listeners, 1, "not told of without a port")
	assert.Equal(t, netip.AddrPortFrom(netip.IPv4Unspecified(), l.port), k.listeners[0].Address)
	assert.EqualValues(t, os.Getpid(), k.listeners[0].Owner.PID)
	assert.True(t, k.listening(l.port))
	assert.False(t, k.listening(0))
	assert.True(t, k.marked(l.port))

	l.close()
	k.until("end of the listener", func() bool { return len(k.unlistens) > 0 })
	assert.False(t, k.listening(l.port))
	assert.False(t, k.marked(l.port))
	assert.False(t, k.probe.sockets.Listeners.Waits(q.Socket))
}

// It is over before the probe reads its socket.
func TestSockListenerThatBindsNoPortAndEndsAtOnce(t *testing.T) {
	enterNetNS(t)
	k := startAny(t, testConfig(perNamespace))
	l := listenWith(t, unix.AF_INET6, unix.IPPROTO_TCP, 1, false)
	l.call(t, 2+3)
	l.close()
	overflows := netstat(t, "ListenOverflows")
	k.until("end of the listener", func() bool { return len(k.unlistens) > 0 })
	_, ok := k.listenerOn(l.port)
	require.True(t, ok, "%v", k.listeners)
	s, _ := k.snapshot(0)
	assert.Contains(t, s.Overflows, connection.Overflow{NetNS: k.netns, N: overflows})
	assert.False(t, k.probe.sockets.Listeners.Waits(k.unlistens[0]))
}

func (k *kernel) listening(port uint16) bool {
	key := shared.PortKey{Netns: k.netns, Port: uint32(port)}
	var value uint32
	return k.probe.maps.Maps["listening_ports"].Lookup(&key, &value) == nil
}

// marked reads the table in which packets are looked up.
func (k *kernel) marked(port uint16) bool {
	k.t.Helper()
	var table *ebpf.Map
	require.NoError(k.t, k.probe.maps.Maps["port_tables"].Lookup(k.netns, &table))
	defer table.Close()
	memory, err := table.Memory()
	require.NoError(k.t, err)
	var flag [1]byte
	_, err = memory.ReadAt(flag[:], int64(bits.ReverseBytes16(port)))
	require.NoError(k.t, err)
	return flag[0] != 0
}

// An excluded port is never in the table of packets, whether the scan finds its listener or
// the hook, which has run when listen(2) returns.
func TestSockMarksSelectedPorts(t *testing.T) {
	for _, selected := range []bool{true, false} {
		t.Run(fmt.Sprintf("selected %t", selected), func(t *testing.T) {
			enterNetNS(t)
			before, after := listen(t, "tcp4", "127.0.0.1:0"), listen(t, "tcp4", "127.0.0.1:0")
			ports := []uint16{portOf(before.Addr()), portOf(after.Addr())}
			require.NoError(t, after.Close())
			ranges := []PortRange{{First: ports[0], Last: ports[0]}, {First: ports[1], Last: ports[1]}}
			k := startProbe(t, testConfig(func(c *Config) {
				if selected {
					c.IncludePorts = ranges
				} else {
					c.ExcludePorts = ranges
				}
			}))
			assert.Equal(t, selected, k.marked(ports[0]))
			again := listen(t, "tcp4", after.Addr().String())
			assert.Equal(t, selected, k.marked(ports[1]))
			for _, port := range ports {
				assert.True(t, k.listening(port))
			}
			require.NoError(t, before.Close())
			require.NoError(t, again.Close())
			k.until("ends of the listeners", func() bool { return !k.listening(ports[0]) && !k.listening(ports[1]) })
			assert.False(t, k.marked(ports[0]) || k.marked(ports[1]))
		})
	}
}

// No process holds a listener whose only descriptor is on its way between processes. The
// kernel's own listeners are similar.
func TestSockListenerThatNoProcessHolds(t *testing.T) {
	for _, before := range []bool{true, false} {
		t.Run(fmt.Sprintf("before %t", before), func(t *testing.T) {
			enterNetNS(t)
			var k *kernel
			if !before {
				k = startProbe(t, testConfig(), "queue")
			}
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
			defer unix.Close(pair[1])
			defer unix.Close(pair[0])
			l := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 2, true)
			require.NoError(t, unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(l.fd), nil, 0))
			l.close()
			if before {
				k = startProbe(t, testConfig(), "queue")
			}
			l.call(t, 2)
			q, ok := k.queuesOf(l.port)
			require.True(t, ok)
			assert.EqualValues(t, 2, q.Accept)
			assert.EqualValues(t, 2, q.AcceptLimit)
			require.NoError(t, k.probe.sockets.RescanListeners())
			assert.NotContains(t, k.unlistens, q.Socket)
		})
	}
}

// An end that every hook missed leaves an entry whose socket no longer listens.
func TestSockForgetsListenersWhoseEndWasMissed(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig(), "queue")
	l := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, true)
	k.until("listener", func() bool { return len(k.listeners) == 1 })
	socket := k.listeners[0].Socket
	entries := k.probe.maps.Maps["listeners"]
	var entry shared.Listener
	require.NoError(t, entries.Lookup(&socket, &entry))
	entry.Port = l.port + 1
	require.NoError(t, entries.Put(&socket, &entry))

	s, _ := k.snapshot(0)
	assert.NotContains(t, socketsOf(s.Queues), socket)
	assert.Empty(t, k.unlistens, "once may be an end under way")
	s, _ = k.snapshot(0)
	assert.Equal(t, []uint64{socket}, k.unlistens)
	assert.EqualValues(t, 1, s.Ledger.Lost[ledger.Listener][ledger.MapStale])
	assert.Error(t, entries.Lookup(&socket, &entry))
}

func socketsOf(queues []connection.Queues) (all []uint64) {
	for _, q := range queues {
		all = append(all, q.Socket)
	}
	return all
}
