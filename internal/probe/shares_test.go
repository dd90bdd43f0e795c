// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// elsewhere runs f on the test's thread in a new network namespace with loopback up. Sockets
// that f leaves open keep it alive.
func elsewhere(t *testing.T, f func()) (inode uint32) {
	t.Helper()
	own, err := os.Open("/proc/thread-self/ns/net")
	require.NoError(t, err)
	defer own.Close()
	require.NoError(t, unix.Unshare(unix.CLONE_NEWNET))
	setLoopback(t, true)
	inode, err = netns.Current()
	require.NoError(t, err)
	f()
	require.NoError(t, unix.Setns(int(own.Fd()), unix.CLONE_NEWNET))
	return inode
}

// open opens connections to a new listener, until the test ends.
func open(t *testing.T, n int) {
	t.Helper()
	l := listen(t, "tcp4", "127.0.0.1:0")
	for range n {
		connect(t, l, "127.0.0.1")
	}
}

func TestSharesOfConnections(t *testing.T) {
	const size, wanted, late = 64, 100, 12
	enterNetNS(t)
	k := startProbe(t, testConfig(func(c *Config) { c.MaxConnections = size }), "live")
	flooding := elsewhere(t, func() { open(t, wanted) })
	second := elsewhere(t, func() { open(t, 4) })
	open(t, late)

	held := map[uint32]int{}
	s, err := k.probe.Snapshot(func(l *connection.Live) { held[l.NetNS]++ })
	require.NoError(t, err)
	assert.Equal(t, size/4*3, held[flooding], "free until three quarters are taken")
	assert.Equal(t, 4, held[second], "below its quarter")
	assert.Equal(t, late, held[k.netns], "the collector's own")
	assert.EqualValues(t, wanted-size/4*3, s.Ledger.Lost[ledger.Connection][ledger.MapShare])
	assert.Zero(t, s.Ledger.Lost[ledger.Connection][ledger.MapFull])
}

// Every end frees room, whichever side deletes the entry.
func TestSharesAreGivenBack(t *testing.T) {
	const size = 64
	enterNetNS(t)
	k := startProbe(t, testConfig(func(c *Config) { c.MaxConnections = size }))
	for range 3 {
		netns := elsewhere(t, func() {
			l := listen(t, "tcp4", "127.0.0.1:0")
			for range size {
				client, server := connect(t, l, "127.0.0.1")
				finish(t, client, server)
			}
		})
		var share shared.NamespaceShare
		require.NoError(t, k.probe.maps.Maps["namespace_rooms"].Lookup(netns, &share))
		assert.Zero(t, share.Taken.Entries[shared.RoomConnections])
	}
	k.settle()
	s, _ := k.snapshot(0)
	assert.Zero(t, s.Ledger.Lost[ledger.Connection][ledger.MapShare])
}

func TestSharesForgetNamespaces(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig())
	netns := elsewhere(t, func() {
		l := listen(t, "tcp4", "127.0.0.1:0")
		client, server := connect(t, l, "127.0.0.1")
		finish(t, client, server)
		require.NoError(t, l.Close())
	})
	var share shared.NamespaceShare
	require.NoError(t, k.probe.maps.Maps["namespace_rooms"].Lookup(netns, &share))
	k.settle()
	for range 4 {
		k.snapshot(0)
	}
	assert.Error(t, k.probe.maps.Maps["namespace_rooms"].Lookup(netns, &share))
}

func TestSharesOfListeners(t *testing.T) {
	const size, wanted, late = 64, 100, 12
	for _, bind := range []bool{true, false} {
		t.Run(fmt.Sprintf("bind %t", bind), func(t *testing.T) {
			enterNetNS(t)
			k := startProbe(t, testConfig(func(c *Config) { c.MaxListeners = size }), "queue")
			k.snapshot(0)
			before := int(k.probe.shares.Taken(shared.RoomListeners))
			elsewhere(t, func() {
				for range wanted {
					listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, bind)
				}
			})
			for range late {
				listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, true)
			}
			k.until("listeners", func() bool { return len(k.listeners) >= late })
			k.settle()
			assert.Len(t, k.listeners, late)
			refused := 0
			for _, lost := range k.lost {
				require.Equal(t, "listener: kernel_map namespace_share (1)", lost)
				refused++
			}
			assert.Equal(t, wanted-(size/4*3-before), refused)
			s, _ := k.snapshot(0)
			followed := map[uint64]bool{}
			for _, q := range s.Queues {
				followed[q.Socket] = true
			}
			for i := range k.listeners {
				assert.Truef(t, followed[k.listeners[i].Socket], "queues of %v", k.listeners[i].Address)
			}
		})
	}
}

func TestSharesOfPortCounters(t *testing.T) {
	const size, wanted, late = 128, 100, 12
	enterNetNS(t)
	k := startProbe(t, testConfig(func(c *Config) { c.MaxPortCounters = size }))
	// Two counters each: for the open, and for the server's reset.
	reset := func(n int) {
		for range n {
			l := listen(t, "tcp4", "127.0.0.1:0")
			client, server := connect(t, l, "127.0.0.1")
			require.NoError(t, server.SetLinger(0))
			require.NoError(t, server.Close())
			_, err := client.Read(make([]byte, 1))
			require.Error(t, err)
		}
	}
	flooding := elsewhere(t, func() { reset(wanted) })
	reset(late)
	k.settle()
	s, _ := k.snapshot(0)
	count := map[uint32]int{}
	for i := range s.Ports {
		count[s.Ports[i].NetNS]++
	}
	assert.LessOrEqual(t, count[flooding], size/4*3)
	assert.GreaterOrEqual(t, count[flooding], size/4)
	assert.Equal(t, 2*late, count[k.netns])
	assert.EqualValues(t, 2*wanted-count[flooding], s.Ledger.Lost[ledger.PortCount][ledger.MapShare])
	assert.Zero(t, s.Ledger.Lost[ledger.PortCount][ledger.MapFull])
}

func TestSharesOfFailedRecords(t *testing.T) {
	const perSecond, wanted, late = 40, 400, 8
	enterNetNS(t)
	k := startProbe(t, testConfig(func(c *Config) { c.FailedPerSecond = perSecond }), refusedByReset)
	refuse := func(n int) {
		for range n {
			_, err := net.Dial("tcp", "127.0.0.1:9")
			require.Error(t, err)
		}
	}
	elsewhere(t, func() { refuse(wanted) })
	refuse(late)
	k.settle()
	s, _ := k.snapshot(0)
	assert.Len(t, k.failed, late, "records of the collector's own namespace")
	assert.EqualValues(t, wanted+late, s.Ledger.Produced[ledger.Failed])
	assert.Positive(t, s.Ledger.Lost[ledger.Failed][ledger.RateShare])
}
