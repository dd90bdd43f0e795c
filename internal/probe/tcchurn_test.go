// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// holdings are what a leak would make grow.
type holdings struct {
	descriptors, sockets, programs, links int
	slots, entries, tables                int
	goroutines                            int
}

// holdings of the process, and of the kernel on behalf of the probe.
func (k *kernel) holdings() holdings {
	k.t.Helper()
	h := holdings{goroutines: runtime.NumGoroutine()}
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(k.t, err)
	for _, file := range files {
		target, _ := os.Readlink("/proc/self/fd/" + file.Name())
		h.descriptors++
		switch {
		case target == "anon_inode:bpf-prog":
			h.programs++
		case strings.HasPrefix(target, "socket:"):
			h.sockets++
		}
	}
	ours := make(map[uint32]bool)
	m := k.probe.tc
	m.mu.Lock()
	defer m.mu.Unlock()
	vantages := []*tcVantage{m.own}
	for _, other := range m.others {
		vantages = append(vantages, other.tcVantage)
	}
	for _, v := range vantages {
		v.mu.Lock()
		for _, program := range v.objects.Programs {
			info, err := program.Info()
			require.NoError(k.t, err)
			id, _ := info.ID()
			ours[uint32(id)] = true
		}
		h.slots += int(v.counts.values.MaxEntries())/int(tc.Directions) - len(v.counts.free)
		entries := make([]shared.InterfaceSlot, len(v.counts.places))
		require.NoError(k.t, v.counts.table.Lookup(uint32(0), entries))
		for _, entry := range entries {
			if entry.Ifindex != 0 {
				h.entries++
			}
		}
		v.mu.Unlock()
	}
	h.links = linksOf(k.t, ours)
	h.tables, err = shared.CountEntries(k.probe.maps.Maps["port_tables"])
	require.NoError(k.t, err)
	return h
}

// linksOf counts links to programs, of all that the kernel has.
func linksOf(t *testing.T, programs map[uint32]bool) (n int) {
	t.Helper()
	links := new(link.Iterator)
	defer links.Close()
	for links.Next() {
		info, err := links.Link.Info()
		require.NoError(t, err)
		if programs[uint32(info.Program)] {
			n++
		}
	}
	require.NoError(t, links.Err())
	return n
}

func threads(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	return len(tasks)
}

func (h *holdings) exceed(other *holdings) bool {
	return h.descriptors > other.descriptors || h.sockets > other.sockets || h.programs > other.programs ||
		h.links > other.links || h.slots > other.slots || h.entries > other.entries ||
		h.tables > other.tables || h.goroutines > other.goroutines
}

// settlesTo waits until nothing is held that was not before.
func (k *kernel) settlesTo(before holdings) {
	k.t.Helper()
	var now holdings
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if now = k.holdings(); !now.exceed(&before) {
			return
		}
		require.Falsef(k.t, time.Now().After(deadline), "before %+v, now %+v", before, now)
	}
}

// attachedTo lists interfaces of our namespace with both programs.
func (k *kernel) attachedTo() []string {
	b := tcBench{tcVantage: k.probe.tc.own}
	return b.attachedTo()
}

func onVeths(m TCMode) func(*Config) {
	return func(c *Config) {
		c.TCMode = m
		c.IncludeInterfaces = []string{"lo", "churn*", "moves*"}
	}
}

func TestTCChurnOfInterfaces(t *testing.T) {
	const rounds, pairs = 10, 20
	tcModes(t, func(t *testing.T, m TCMode) {
		enterNetNS(t)
		k := startProbe(t, testConfig(onVeths(m)))
		before := k.holdings()
		if m == TCX {
			require.Equal(t, 2, before.links, "of lo")
		}
		require.Equal(t, 1, before.entries)
		var slowest time.Duration
		for range rounds {
			want := []string{"lo"}
			for i := range pairs {
				name := fmt.Sprintf("churn%02d", i)
				require.NoError(t, netlink.LinkAdd(&netlink.Veth{
					LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer-" + name,
				}))
				want = append(want, name)
			}
			slices.Sort(want)
			began := time.Now()
			within(t, soon, func() bool { return slices.Equal(k.attachedTo(), want) }, "attached to %v", want)
			slowest = max(slowest, time.Since(began))
			for _, name := range want {
				if name != "lo" {
					require.NoError(t, netlink.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: name}}))
				}
			}
			within(t, soon, func() bool { return len(k.attachedTo()) == 1 }, "detached from all but lo")
		}
		t.Logf("%d pairs at a time attached within %s", pairs, slowest)
		k.settlesTo(before)
	})
}

func TestTCFollowsAnInterfaceThroughNamespaces(t *testing.T) {
	tcModes(t, func(t *testing.T, m TCMode) {
		enterNetNS(t)
		here, err := netns.OpenThread()
		require.NoError(t, err)
		defer here.Close()
		folder := t.TempDir()
		other := newContainer(t, filepath.Join(folder, "other"))
		other.in(func() { setLoopback(t, true) })
		client := newPeer(t)
		client.veth(t, "moves")
		k := startProbe(t, testConfig(inNamespaces(m, folder), onVeths(m)))
		k.attachedIn(1)
		require.Equal(t, []string{"lo", "moves"}, k.attachedTo())
		before := k.holdings()
		inside := func() []string {
			k.probe.tc.mu.Lock()
			defer k.probe.tc.mu.Unlock()
			b := tcBench{tcVantage: k.probe.tc.others[other.inode].tcVantage}
			return b.attachedTo()
		}
		serve := func(talk func()) {
			listener := echo(t, "192.0.2.1:8080")
			defer func() { require.NoError(t, listener.Close()) }()
			// The hook marks the port before listen returns.
			talk()
		}
		said := func(n uint64, netns uint32) {
			t.Helper()
			assert.Equal(t, n, k.interfaces(netns)["moves"].Packets[packet.SYN])
		}
		serve(func() { client.in(func() { talk(t, "192.0.2.1:8080") }) })
		said(1, 0)

		device, err := netlink.LinkByName("moves")
		require.NoError(t, err)
		require.NoError(t, netlink.LinkSetDown(device))
		require.NoError(t, netlink.LinkSetUp(device))
		serve(func() { client.in(func() { talk(t, "192.0.2.1:8080") }) })
		said(2, 0)

		namespace, err := netns.Open(other.path)
		require.NoError(t, err)
		require.NoError(t, netlink.LinkSetNsFd(device, namespace.FD()))
		namespace.Close()
		within(t, soon, func() bool {
			return slices.Equal(k.attachedTo(), []string{"lo"}) && slices.Equal(inside(), []string{"lo", "moves"})
		}, "attached where it went")
		other.in(func() {
			setUp(t, "moves", "192.0.2.1/24")
			serve(func() { client.in(func() { talk(t, "192.0.2.1:8080") }) })
		})
		said(2, 0)
		said(1, other.inode)

		other.in(func() {
			device, err := netlink.LinkByName("moves")
			require.NoError(t, err)
			require.NoError(t, netlink.LinkSetNsFd(device, here.FD()))
		})
		within(t, soon, func() bool {
			return slices.Equal(k.attachedTo(), []string{"lo", "moves"}) && slices.Equal(inside(), []string{"lo"})
		}, "attached where it came back")
		setUp(t, "moves", "192.0.2.1/24")
		serve(func() { client.in(func() { talk(t, "192.0.2.1:8080") }) })
		said(3, 0)
		said(1, other.inode)
		k.settlesTo(before)
	})
}

// Namespaces with one connection in each, inside.
func TestTCChurnOfNamespaces(t *testing.T) {
	const atOnce = 10
	rounds := 5
	if emulated() {
		rounds = 2 // the verifier is slow there, and a leak shows in the second
	}
	tcModes(t, func(t *testing.T, m TCMode) {
		enterNetNS(t)
		folder := t.TempDir()
		k := startProbe(t, testConfig(inNamespaces(m, folder)))
		var before holdings
		keptBefore := keptAlive(t)
		var threadsBefore, threadsMost int
		for round := range rounds {
			containers := make(map[uint32]*container)
			for i := range atOnce {
				c := newContainer(t, filepath.Join(folder, fmt.Sprint(round, "-", i)))
				c.connect(fmt.Sprint("to-", round, "-", i))
				c.in(func() { setLoopback(t, true) })
				containers[c.inode] = c
			}
			began := time.Now()
			within(t, 10*time.Second, func() bool { return k.probe.tc.namespaces().Attached == atOnce }, "all attached")
			t.Logf("%d namespaces at once in %s", atOnce, time.Since(began))
			k.inNamespaces(containers)
			threadsMost = max(threadsMost, threads(t))
			for _, c := range containers {
				c.remove()
			}
			began = time.Now()
			within(t, soon, func() bool { return keptAlive(t) <= keptBefore }, "nothing keeps them alive, but %d", keptBefore)
			t.Logf("let go in %s", time.Since(began))
			within(t, 5*time.Second, func() bool {
				interfaces, err := net.Interfaces()
				return err == nil && len(interfaces) == 1
			}, "the namespaces end, and their veths with them")
			within(t, 5*time.Second, func() bool { return k.probe.tc.namespaces().Attached == 0 }, "all detached")
			if round == 0 {
				before, threadsBefore = k.holdings(), threads(t)
			}
		}
		k.settlesTo(before)
		t.Logf("threads: %d after the first round, %d at most, %d now", threadsBefore, threadsMost, threads(t))
		assert.LessOrEqual(t, threads(t), threadsBefore+tcNamespacesAtOnce, "they do not grow with namespaces")
	})
}

// keptAlive counts what could keep a namespace alive: its descriptors, and sockets.
func keptAlive(t *testing.T) (n int) {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, file := range files {
		target, _ := os.Readlink("/proc/self/fd/" + file.Name())
		if strings.HasPrefix(target, "net:[") || strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// inNamespaces makes a connection in each, and finds it reported and its packets
// counted.
func (k *kernel) inNamespaces(containers map[uint32]*container) {
	k.t.Helper()
	for inode, c := range containers {
		k.netns, k.closed = inode, nil
		c.in(func() {
			listener := echo(k.t, "127.0.0.1:8080")
			talk(k.t, "127.0.0.1:8080")
			require.NoError(k.t, listener.Close())
		})
		k.until("close", func() bool { return len(k.closed) == 1 })
		assert.Equal(k.t, "lo", k.closed[0].Interface)
		assert.EqualValues(k.t, 1, k.interfaces(inode)["lo"].Packets[packet.SYN], c.path)
	}
}

// Sockets are covered in namespaces that nobody named, too.
func TestSockChurnOfNamespaces(t *testing.T) {
	const number = 50
	enterNetNS(t)
	folder := t.TempDir()
	k := startProbe(t, testConfig())
	for i := range number {
		c := newContainer(t, filepath.Join(folder, fmt.Sprint(i)))
		k.netns, k.opened, k.closed = c.inode, nil, nil
		c.in(func() {
			setLoopback(t, true)
			listener := echo(t, "127.0.0.1:8080")
			talk(t, "127.0.0.1:8080")
			require.NoError(t, listener.Close())
		})
		k.until("close", func() bool { return len(k.closed) == 1 })
		assert.Len(t, k.opened, 1)
		assert.Equal(t, connection.CloseClientFIN, k.closed[0].Reason)
		c.remove()
	}
	_, live := k.snapshot(8080)
	assert.Empty(t, live)
	// A listener ends when the last call of accept(2) has left it.
	k.until("the end of all listeners", func() bool { return len(k.probe.sockets.Listeners.Ports.Namespaces()) == 0 })
	assert.Empty(t, k.lost)
}
