// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"path"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// lookHooks are the hooks of the ways to live figures, best first.
func lookHooks() []string {
	return []string{"iter/bpf_map_elem", "prog_run/syscall", "iter/tcp", "map/lookup_batch"}
}

// eachLook runs a test by each way to live figures that this kernel has: the hooks of those
// above it are refused. Only the last way does not read sockets. Which ways are refused where
// is held by the diagnosis' golden files.
func eachLook(t *testing.T, cfg Config, test func(t *testing.T, k *kernel, reads bool)) {
	t.Helper()
	excluded := cfg.ExcludeHooks
	worked := 0
	for i, name := range lookHooks() {
		t.Run(path.Base(name), func(t *testing.T) {
			cfg.ExcludeHooks = append(lookHooks()[:i], excluded...)
			enterNetNS(t)
			k := startAny(t, cfg)
			for _, feature := range []string{FeatureLive, FeatureQueue} {
				if got := k.stateOf(feature).Name; got != name {
					lacks, err := thisHost(t).Lacks(feature + " by " + name)
					require.NoError(t, err)
					assert.NotEmpty(t, lacks, "the way is there, but %s is used", got)
					t.Logf("this kernel refuses %s: %s", name, lacks)
					return
				}
			}
			worked++
			test(t, k, name != "map/lookup_batch")
		})
	}
	assert.GreaterOrEqual(t, worked, 2, "iter/tcp and map/lookup_batch work everywhere")
}

// stateOf is that of the first hook of a feature.
func (k *kernel) stateOf(feature string) HookState {
	for _, state := range k.probe.Hooks() {
		if state.Feature == feature {
			return state
		}
	}
	return HookState{}
}

// TestLookWays: connections of two namespaces, one of them not ours, are active. They have
// their bytes if the way reads sockets, and their listeners have queues.
func TestLookWays(t *testing.T) {
	const port = 27183
	eachLook(t, testConfig(onlyPort(port)), func(t *testing.T, k *kernel, reads bool) {
		other := wire.NewPeer(t)
		inside := map[uint32]uint64{}
		open := func(number, bytes int) {
			l := listen(t, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
			netns, err := netns.Current()
			require.NoError(t, err)
			inside[netns] = uint64(bytes)
			for range number {
				client, server := connect(t, l, "127.0.0.1")
				send(t, client, server, bytes)
			}
			// One more waits to be accepted.
			waits, err := net.Dial("tcp4", l.Addr().String())
			require.NoError(t, err)
			t.Cleanup(func() { _ = waits.Close() })
			_, err = waits.Write(make([]byte, bytes))
			require.NoError(t, err)
		}
		open(2, 10)
		other.In(func() {
			setLoopback(t, true)
			open(3, 20)
		})
		k.settle()
		// The content of a namespace is known after the first look.
		k.snapshot(port)
		s, live := k.snapshot(port)
		assert.EqualValues(t, 3+4, s.Ledger.Active)
		require.Len(t, live, 3+4)
		for _, l := range live {
			assert.Equal(t, !reads, l.Unread)
			if reads {
				assert.Equal(t, inside[l.NetNS], l.ReceivedBytes)
			}
			assert.Equal(t, netip.MustParseAddrPort("127.0.0.1:27183"), l.Server)
		}
		require.Len(t, s.Queues, 2)
		for _, q := range s.Queues {
			assert.Equal(t, !reads, q.Unread)
			if reads {
				assert.EqualValues(t, 1, q.Accept)
				assert.NotZero(t, q.AcceptLimit)
			} else {
				assert.Zero(t, q.AcceptLimit)
			}
			assert.True(t, q.OverflowsUnread, "nobody asks for them")
		}
		assert.Contains(t, s.Maps, MapFill{"connections", 7, 4096})
		assert.EqualValues(t, 7, opensOf(s))
		k.balance()
	})
}

// The FIN of a client takes a sequence number, and is no byte.
func TestLookWaysDiscountTheClientsFIN(t *testing.T) {
	const port = 27184
	eachLook(t, testConfig(onlyPort(port)), func(t *testing.T, k *kernel, reads bool) {
		l := listen(t, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		client, server := connect(t, l, "127.0.0.1")
		send(t, client, server, 10)
		require.NoError(t, client.CloseWrite())
		_, err := server.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		k.settle()
		k.snapshot(port)
		_, live := k.snapshot(port)
		require.Len(t, live, 1)
		if reads {
			assert.EqualValues(t, 10, live[0].ReceivedBytes)
		}
	})
}

// opensOf returns the kernel's count of all opens.
func opensOf(s *Snapshot) (n uint64) {
	for _, c := range s.Ports {
		if c.What == connection.Opens {
			n += c.Value
		}
	}
	return n
}

// TestLooksAreNotPossible: if every way is refused, the entries are still counted, and all
// other figures are absent.
func TestLooksAreNotPossible(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	port := portOf(l.Addr())
	k := startAny(t, testConfig(onlyPort(port), func(c *Config) { c.ExcludeHooks = lookHooks() }))
	client, server := connect(t, l, "127.0.0.1")
	s, live := k.snapshot(port)
	assert.Empty(t, live)
	assert.Empty(t, s.Queues)
	assert.EqualValues(t, 1, s.Ledger.Active)
	assert.Contains(t, s.Maps, MapFill{"connections", 1, 4096})
	for _, feature := range []string{FeatureLive, FeatureQueue} {
		assert.False(t, k.stateOf(feature).Attached)
		for _, name := range lookHooks() {
			assert.ErrorContains(t, k.stateOf(feature).Err, name)
		}
	}
	k.balance()
	finish(t, client, server)
	k.until("close", func() bool { return len(k.closed) == 1 })
	k.balance()
}

// TestLookWaysSayWhatTheyLack: entries alone have no bytes. This is reported like a missing
// hook.
func TestLookWaysSayWhatTheyLack(t *testing.T) {
	enterNetNS(t)
	k := startAny(t, testConfig(func(c *Config) { c.ExcludeHooks = lookHooks()[:3] }))
	lost := map[string]string{}
	for _, state := range k.probe.Hooks() {
		if (state.Feature == FeatureLive || state.Feature == FeatureQueue) && !state.Attached {
			assert.ErrorIs(t, state.Err, hook.ErrExcluded)
			assert.Equal(t, "iter/bpf_map_elem", state.Name)
			lost[state.Feature] = state.Gives
		}
	}
	assert.Equal(t, map[string]string{FeatureLive: "tcp.server.io before the close", FeatureQueue: "tcp.server.accept_queue.*, tcp.server.syn_queue.length"}, lost)

	// Without entering namespaces, iter/tcp does not read others.
	k = startAny(t, testConfig(func(c *Config) { c.ExcludeHooks = append(lookHooks()[:2], netns.Hook) }))
	for _, state := range k.probe.Hooks() {
		if state.Feature == FeatureLive && !state.Attached {
			assert.Equal(t, "tcp.server.io before the close"+" in other network namespaces", state.Gives)
			assert.ErrorIs(t, state.Err, hook.ErrExcluded)
			return
		}
	}
	t.Error("no hook tells of other network namespaces")
}

// TestLookWaysFindMissedEnds: an entry whose socket belongs to another, or no longer exists.
func TestLookWaysFindMissedEnds(t *testing.T) {
	eachLook(t, testConfig(onlyPort(27183)), func(t *testing.T, k *kernel, reads bool) {
		listen(t, "tcp4", "127.0.0.1:27183")
		k.until("listener", func() bool { return len(k.listeners) == 1 })
		netns := k.netns
		connections := k.probe.maps.Maps["connections"]
		missed := shared.Connection{Id: 1, Netns: netns, Flow: shared.Flow{LocalPort: 1, RemotePort: 2}}
		require.NoError(t, connections.Put(k.listeners[0].Socket, &missed))
		nowhere := missed
		nowhere.Id = 2
		require.NoError(t, connections.Put(uint64(8), &nowhere))

		s, live := k.snapshot(1)
		assert.EqualValues(t, 2, s.Ledger.Active, "once may be a close under way")
		require.Len(t, live, 2)
		for _, l := range live {
			assert.True(t, l.Unread, "the counters are another socket's")
			assert.Zero(t, l.ReceivedBytes)
		}
		s, _ = k.snapshot(1)
		left := map[bool]int64{true: 0, false: 2}[reads]
		assert.Equal(t, left, s.Ledger.Active)
		assert.Equal(t, 2-left, s.Ledger.Lost[ledger.Connection][ledger.MapStale])

		listeners := k.probe.maps.Maps["listeners"]
		socket := k.listeners[0].Socket
		var entry shared.Listener
		require.NoError(t, listeners.Lookup(&socket, &entry))
		entry.Port++
		require.NoError(t, listeners.Put(&socket, &entry))
		k.snapshot(0)
		assert.NotContains(t, k.unlistens, socket, "once may be an end under way")
		k.snapshot(0)
		assert.Equal(t, reads, slices.Contains(k.unlistens, socket))
	})
}

// TestLookWaysFindPorts: ports of listeners that bind none are found. A scan for lost records
// ends no listener that still listens.
func TestLookWaysFindPorts(t *testing.T) {
	eachLook(t, testConfig(), func(t *testing.T, k *kernel, reads bool) {
		l := listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 3, false)
		q, ok := k.queuesOf(l.port)
		require.True(t, ok)
		assert.Equal(t, !reads, q.Unread)
		assert.EqualValues(t, map[bool]uint32{true: 3}[reads], q.AcceptLimit)
		assert.True(t, k.listening(l.port))
		require.NoError(t, k.probe.sockets.RescanListeners())
		assert.NotContains(t, k.unlistens, q.Socket)
		l.close()
		k.until("end of the listener", func() bool { return slices.Contains(k.unlistens, q.Socket) })
		assert.False(t, k.listening(l.port))
		require.NoError(t, k.probe.sockets.Listeners.FindPorts())
		assert.False(t, k.probe.sockets.Listeners.Waits(q.Socket))
	})
}

// TestLookWaysOfManyConnections: the ledger balances with all of them open.
func TestLookWaysOfManyConnections(t *testing.T) {
	number := 10_000
	if wire.Emulated() {
		number = 2_000
	}
	cfg := testConfig(onlyPort(27183), func(c *Config) {
		c.MaxConnections, c.RingBytes, c.OpenRecords = 16384, 16<<20, false
	})
	eachLook(t, cfg, func(t *testing.T, k *kernel, reads bool) {
		end := connectMany(t, 27183, number)
		k.settle()
		s, live := k.snapshot(27183)
		assert.EqualValues(t, number, s.Ledger.Opened)
		assert.EqualValues(t, number, s.Ledger.Active)
		assert.EqualValues(t, number, opensOf(s))
		assert.Len(t, live, number)
		unread := 0
		for _, l := range live {
			if l.Unread {
				unread++
			} else {
				assert.EqualValues(t, 1, l.ReceivedBytes)
			}
		}
		assert.Equal(t, map[bool]int{false: number}[reads], unread)
		k.balance()
		end()
		k.until("closes", func() bool { return len(k.closed) == number })
		k.balance()
		s, _ = k.snapshot(27183)
		assert.Zero(t, s.Ledger.Active)
	})
}

// connectMany opens connections that have sent a byte each. Threads hold them, each with its
// own table of files and its own client address.
func connectMany(t *testing.T, port uint16, number int) (end func()) {
	t.Helper()
	const perThread = 500
	l := listenOn(t, port, 128)
	namespace, err := netns.OpenThread()
	require.NoError(t, err)
	t.Cleanup(namespace.Close)
	stop, done := make(chan struct{}), make(chan struct{}, number)
	threads := 0
	for begun := 0; begun < number; begun += perThread {
		threads++
		ready := make(chan error)
		from := [4]byte{127, 0, 1, byte(threads)}
		go func() {
			defer func() { done <- struct{}{} }()
			runtime.LockOSThread() // and never unlocked: the thread ends, its files with it
			err := namespace.Enter()
			if err == nil {
				err = unix.Unshare(unix.CLONE_FILES)
			}
			var all []int
			for i := 0; i < min(perThread, number-begun) && err == nil; i++ {
				var pair []int
				pair, err = dialFrom(l.fd, port, from)
				all = append(all, pair...)
			}
			ready <- err
			<-stop
			for _, fd := range all {
				_ = unix.Close(fd)
			}
		}()
		require.NoError(t, <-ready)
	}
	return func() {
		close(stop)
		for range threads {
			<-done
		}
	}
}

// dialFrom opens, accepts and uses one connection, and returns both ends.
func dialFrom(listener int, port uint16, from [4]byte) ([]int, error) {
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error {
			return unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		},
		func() error { return unix.Bind(client, &unix.SockaddrInet4{Addr: from}) },
		func() error {
			return unix.Connect(client, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(port)})
		},
	} {
		if err := step(); err != nil {
			return []int{client}, err
		}
	}
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return []int{client}, err
	}
	_, err = unix.Write(client, []byte{1})
	return []int{client, server}, err
}

// A map that could not be read does not count as empty.
func TestSnapshotLeavesOutMapsThatItCouldNotRead(t *testing.T) {
	enterNetNS(t)
	k := startAny(t, testConfig(func(c *Config) { c.ExcludeHooks = append(c.ExcludeHooks, "iter/bpf_map_elem") }))
	s, err := k.probe.Snapshot(func(*connection.Live) {})
	require.NoError(t, err)
	all := len(s.Maps)
	unreadable := []string{"connections", "port_counters"}
	for _, name := range unreadable {
		require.NoError(t, k.probe.maps.Maps[name].Close())
	}
	s, err = k.probe.Snapshot(func(*connection.Live) {})
	require.Error(t, err)
	assert.Len(t, s.Maps, all-len(unreadable))
	for i := range s.Maps {
		assert.NotContains(t, unreadable, s.Maps[i].Name)
	}
}
