// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

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

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// holdings are what a leak would make grow.
type holdings struct {
	descriptors, sockets, programs, links int
	slots, entries, tables                int
	goroutines                            int
}

// holdings of the process, and of the kernel on behalf of the probe.
func (k *live) holdings() holdings {
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
	k.mu.Lock()
	defer k.mu.Unlock()
	vantages := []*namespace{k.own}
	for _, other := range k.others {
		vantages = append(vantages, other.namespace)
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
	h.tables = k.tables.number()
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
func (k *live) settlesTo(before holdings) {
	k.t.Helper()
	var now holdings
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if now = k.holdings(); !now.exceed(&before) {
			return
		}
		require.Falsef(k.t, time.Now().After(deadline), "before %+v, now %+v", before, now)
	}
}

// interfaces of one namespace, by name.
func (k *live) interfaces(inode uint32) map[string]packet.Interface {
	all := make(map[string]packet.Interface)
	for _, i := range k.Counters() {
		if i.NetNS == inode && !i.Egress {
			all[i.Name] = i
		}
	}
	return all
}

// attachedIn waits until packets are observed in that many namespaces.
func (k *live) attachedIn(number int) {
	k.t.Helper()
	wire.Within(k.t, wire.Soon, func() bool { return k.Namespaces().Attached == number }, "observed in %d namespaces", number)
}

func setLoopback(t *testing.T, up bool) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	require.NoError(t, err)
	if up {
		require.NoError(t, netlink.LinkSetUp(lo))
	} else {
		require.NoError(t, netlink.LinkSetDown(lo))
	}
}

// attachedTo lists interfaces of our namespace with both programs.
func (k *live) attachedTo() []string {
	return k.own.attached.Interfaces()
}

func onVeths(m settings.TCMode) func(*settings.Config) {
	return func(c *settings.Config) {
		c.TCMode = m
		c.IncludeInterfaces = []string{"lo", "churn*", "moves*"}
	}
}

func TestTCChurnOfInterfaces(t *testing.T) {
	const rounds, pairs = 10, 20
	modes(t, func(t *testing.T, m settings.TCMode) {
		wire.Enter(t)
		k := startLive(t, config(onVeths(m)))
		before := k.holdings()
		if m == settings.TCX {
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
			wire.Within(t, wire.Soon, func() bool { return slices.Equal(k.attachedTo(), want) }, "attached to %v", want)
			slowest = max(slowest, time.Since(began))
			for _, name := range want {
				if name != "lo" {
					require.NoError(t, netlink.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: name}}))
				}
			}
			wire.Within(t, wire.Soon, func() bool { return len(k.attachedTo()) == 1 }, "detached from all but lo")
		}
		t.Logf("%d pairs at a time attached within %s", pairs, slowest)
		k.settlesTo(before)
	})
}

func TestTCFollowsAnInterfaceThroughNamespaces(t *testing.T) {
	modes(t, func(t *testing.T, m settings.TCMode) {
		wire.Enter(t)
		here, err := netns.OpenThread()
		require.NoError(t, err)
		defer here.Close()
		folder := t.TempDir()
		other := wire.NewContainer(t, filepath.Join(folder, "other"))
		other.In(func() { setLoopback(t, true) })
		client := wire.NewPeer(t)
		client.Veth(t, "moves")
		k := startLive(t, config(inNamespaces(m, folder), onVeths(m)))
		k.attachedIn(1)
		require.Equal(t, []string{"lo", "moves"}, k.attachedTo())
		before := k.holdings()
		inside := func() []string {
			k.mu.Lock()
			defer k.mu.Unlock()
			return k.others[other.Inode].attached.Interfaces()
		}
		serve := func(talk func()) {
			listener := wire.Echo(t, "192.0.2.1:8080")
			defer func() { require.NoError(t, listener.Close()) }()
			// The hook marks the port before listen returns.
			talk()
		}
		said := func(n uint64, netns uint32) {
			t.Helper()
			assert.Equal(t, n, k.interfaces(netns)["moves"].Packets[packet.SYN])
		}
		serve(func() { client.In(func() { wire.Talk(t, "192.0.2.1:8080") }) })
		said(1, 0)

		device, err := netlink.LinkByName("moves")
		require.NoError(t, err)
		require.NoError(t, netlink.LinkSetDown(device))
		require.NoError(t, netlink.LinkSetUp(device))
		serve(func() { client.In(func() { wire.Talk(t, "192.0.2.1:8080") }) })
		said(2, 0)

		namespace, err := netns.Open(other.Path)
		require.NoError(t, err)
		require.NoError(t, netlink.LinkSetNsFd(device, namespace.FD()))
		namespace.Close()
		wire.Within(t, wire.Soon, func() bool {
			return slices.Equal(k.attachedTo(), []string{"lo"}) && slices.Equal(inside(), []string{"lo", "moves"})
		}, "attached where it went")
		other.In(func() {
			wire.SetUp(t, "moves", "192.0.2.1/24")
			serve(func() { client.In(func() { wire.Talk(t, "192.0.2.1:8080") }) })
		})
		said(2, 0)
		said(1, other.Inode)

		other.In(func() {
			device, err := netlink.LinkByName("moves")
			require.NoError(t, err)
			require.NoError(t, netlink.LinkSetNsFd(device, here.FD()))
		})
		wire.Within(t, wire.Soon, func() bool {
			return slices.Equal(k.attachedTo(), []string{"lo", "moves"}) && slices.Equal(inside(), []string{"lo"})
		}, "attached where it came back")
		wire.SetUp(t, "moves", "192.0.2.1/24")
		serve(func() { client.In(func() { wire.Talk(t, "192.0.2.1:8080") }) })
		said(3, 0)
		said(1, other.Inode)
		k.settlesTo(before)
	})
}

// Namespaces with one connection in each, inside.
func TestTCChurnOfNamespaces(t *testing.T) {
	const atOnce = 10
	rounds := 5
	if wire.Emulated() {
		rounds = 2 // the verifier is slow there, and a leak shows in the second
	}
	modes(t, func(t *testing.T, m settings.TCMode) {
		wire.Enter(t)
		folder := t.TempDir()
		k := startLive(t, config(inNamespaces(m, folder)))
		var before holdings
		keptBefore := keptAlive(t)
		var threadsBefore, threadsMost int
		for round := range rounds {
			containers := make(map[uint32]*wire.Container)
			for i := range atOnce {
				c := wire.NewContainer(t, filepath.Join(folder, fmt.Sprint(round, "-", i)))
				c.Connect(fmt.Sprint("to-", round, "-", i))
				c.In(func() { setLoopback(t, true) })
				containers[c.Inode] = c
			}
			began := time.Now()
			wire.Within(t, 10*time.Second, func() bool { return k.Namespaces().Attached == atOnce }, "all attached")
			t.Logf("%d namespaces at once in %s", atOnce, time.Since(began))
			k.inNamespaces(containers)
			threadsMost = max(threadsMost, threads(t))
			for _, c := range containers {
				c.Remove()
			}
			began = time.Now()
			wire.Within(t, wire.Soon, func() bool { return keptAlive(t) <= keptBefore }, "nothing keeps them alive, but %d", keptBefore)
			t.Logf("let go in %s", time.Since(began))
			wire.Within(t, 5*time.Second, func() bool {
				interfaces, err := net.Interfaces()
				return err == nil && len(interfaces) == 1
			}, "the namespaces end, and their veths with them")
			wire.Within(t, 5*time.Second, func() bool { return k.Namespaces().Attached == 0 }, "all detached")
			if round == 0 {
				before, threadsBefore = k.holdings(), threads(t)
			}
		}
		k.settlesTo(before)
		t.Logf("threads: %d after the first round, %d at most, %d now", threadsBefore, threadsMost, threads(t))
		assert.LessOrEqual(t, threads(t), threadsBefore+namespacesAtOnce, "they do not grow with namespaces")
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

// inNamespaces makes a connection in each, and finds its packets counted.
func (k *live) inNamespaces(containers map[uint32]*wire.Container) {
	k.t.Helper()
	for inode, c := range containers {
		c.In(func() {
			listener := wire.Echo(k.t, "127.0.0.1:8080")
			wire.Talk(k.t, "127.0.0.1:8080")
			require.NoError(k.t, listener.Close())
		})
		assert.EqualValues(k.t, 1, k.interfaces(inode)["lo"].Packets[packet.SYN], c.Path)
	}
}
