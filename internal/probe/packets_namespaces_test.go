// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

func included(names ...string) func(*Config) {
	return func(c *Config) { c.IncludeInterfaces, c.ExcludeInterfaces = names, []string{"lo"} }
}

func mode(m TCMode) func(*Config) { return func(c *Config) { c.TCMode = m } }

func trackHalfOpen(c *Config) { c.HalfOpen, c.PacketSampleRate = true, 0 }

// inNamespaces asks for TC in the namespaces of a folder.
func inNamespaces(m TCMode, folder string) func(*Config) {
	return func(c *Config) {
		c.TCMode = m
		c.IncludeInterfaces = []string{"*"}
		c.NetworkNamespaces, c.MaxNetworkNamespaces = []string{filepath.Join(folder, "*")}, 64
	}
}

// attachedIn waits until packets of that many namespaces are observed.
func (k *kernel) attachedIn(number int) {
	k.t.Helper()
	wire.Within(k.t, wire.Soon, func() bool { return k.probe.packets.Namespaces().Attached == number },
		"looking at packets in %d namespaces", number)
}

// interfaces of one namespace, by name, from a snapshot.
func (k *kernel) interfaces(netns uint32) map[string]packet.Interface {
	k.t.Helper()
	s, _ := k.snapshot(0)
	all := make(map[string]packet.Interface)
	for _, i := range s.Interfaces {
		if i.NetNS == netns && !i.Egress {
			all[i.Name] = i
		}
	}
	return all
}

func tcModes(t *testing.T, test func(*testing.T, TCMode)) {
	for _, m := range []TCMode{TCX, TCClsact} {
		t.Run(string(m), func(t *testing.T) {
			needingMode(t, m)
			test(t, m)
		})
	}
}

func TestTCInNamespaces(t *testing.T) {
	tcModes(t, func(t *testing.T, m TCMode) {
		enterNetNS(t)
		folder := t.TempDir()
		early := wire.NewContainer(t, filepath.Join(folder, "early"))
		early.Connect("to-early")
		stop := early.Listen("8080")
		k := startProbe(t, testConfig(inNamespaces(m, folder), func(c *Config) {
			c.HalfOpen, c.HandshakeTimeout = true, 100*time.Millisecond
			c.PacketClasses, c.PacketsPerSecond = []packet.Class{packet.SYN}, 1000
		}))
		k.netns = early.Inode
		k.attachedIn(1)

		wire.Talk(t, "192.0.2.2:8080")
		k.until("close", func() bool { return len(k.closed) == 1 })
		assert.Equal(t, "eth0", k.closed[0].Interface, "the name inside")
		require.Len(t, k.packets, 1)
		assert.Equal(t, early.Inode, k.packets[0].NetNS)
		assert.Equal(t, "eth0", k.packets[0].Interface)
		eth0 := k.interfaces(early.Inode)["eth0"]
		assert.EqualValues(t, 1, eth0.Packets[packet.SYN])
		assert.EqualValues(t, 1, eth0.Packets[packet.Data])
		for name, i := range k.interfaces(0) {
			assert.False(t, i.Counted(), "%s here", name)
		}

		_, err := net.Dial("tcp4", "192.0.2.2:81")
		require.ErrorIs(t, err, unix.ECONNREFUSED)
		k.until("refusal", func() bool { return len(k.failed) == 1 })
		assert.Equal(t, connection.FailureRefused, k.failed[0].Type)
		assert.Equal(t, netip.MustParseAddrPort("192.0.2.2:81"), k.failed[0].Server)

		sendSYN(t, early, "to-early")
		k.until("half-open attempt", func() bool {
			k.snapshot(0)
			return len(k.failed) == 2
		})
		assert.Equal(t, connection.FailureHandshakeTimeout, k.failed[1].Type)
		assert.Equal(t, "eth0", k.failed[1].Interface)

		// A port that is closed and one that is opened while we look.
		stop()
		k.until("end of the listener", func() bool { return !k.listening(8080) })
		_, err = net.Dial("tcp4", "192.0.2.2:8080")
		require.ErrorIs(t, err, unix.ECONNREFUSED)
		again := early.Listen("8081")
		wire.Talk(t, "192.0.2.2:8081")
		again()
		assert.EqualValues(t, 3, k.interfaces(early.Inode)["eth0"].Packets[packet.SYN], "8080, half-open, 8081")

		// The end of a namespace: its veth goes with it, here, too.
		early.Remove()
		k.attachedIn(0)
		wire.Within(t, wire.Soon, func() bool { _, err := net.InterfaceByName("to-early"); return err != nil },
			"the namespace ends")
		assert.EqualValues(t, 3, k.interfaces(early.Inode)["eth0"].Packets[packet.SYN], "its last counts")
		assert.Empty(t, k.interfaces(early.Inode), "come once")

		// The listener was there before the namespace had a file.
		var listener net.Listener
		late := wire.NewContainer(t, filepath.Join(folder, "late"), func() {
			setLoopback(t, true)
			listener = wire.Echo(t, ":8080")
		})
		late.Connect("to-late")
		k.netns, k.listeners = late.Inode, nil
		k.attachedIn(1)
		k.until("listener", func() bool {
			return slices.ContainsFunc(k.listeners, func(l connection.Listener) bool { return l.Address.Port() == 8080 })
		})
		wire.Within(t, wire.Soon, func() bool { _, ok := k.interfaces(late.Inode)["eth0"]; return ok }, "eth0 is observed")
		wire.Talk(t, "192.0.2.2:8080")
		assert.EqualValues(t, 1, k.interfaces(late.Inode)["eth0"].Packets[packet.SYN])
		require.NoError(t, listener.Close())
	})
}

// sendSYN sends from an address that will not answer.
func sendSYN(t *testing.T, c *wire.Container, device string) {
	t.Helper()
	link := wire.Ethernet(layers.EthernetTypeIPv4)
	c.In(func() { link.DstMAC = wire.HardwareAddress(t, "eth0") })
	from, err := netlink.LinkByName(device)
	require.NoError(t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	frame := wire.Build(t, link, wire.IPv4(func(ip *layers.IPv4) {
		ip.DstIP = net.IPv4(192, 0, 2, 2)
	}), wire.Segment(wire.OnlySYN))
	require.NoError(t, unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: from.Attrs().Index}))
}

// Files that are no namespace, not yet one, ours, or one that another path has.
func TestTCNamespacesOfOtherFiles(t *testing.T) {
	enterNetNS(t)
	folder := t.TempDir()
	bind := func(from, name string) {
		t.Helper()
		to := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(to, nil, 0o444))
		require.NoError(t, unix.Mount(from, to, "none", unix.MS_BIND, ""))
		t.Cleanup(func() { require.NoError(t, unix.Unmount(to, unix.MNT_DETACH)) })
	}
	bind(netns.ThreadFile, "own")
	bind("/proc/self/ns/uts", "uts")
	first := wire.NewContainer(t, filepath.Join(folder, "first"))
	bind(first.Path, "again")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "empty"), nil, 0o444))
	require.NoError(t, unix.Mkfifo(filepath.Join(folder, "fifo"), 0o644))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(folder, "dangling")))

	core, logs := observer.New(zapcore.WarnLevel)
	k := startLogged(t, testConfig(inNamespaces(TCAuto, folder)), zap.New(core))
	k.attachedIn(1)
	wire.NewContainer(t, filepath.Join(folder, "empty"))
	k.attachedIn(2)
	first.Remove()
	require.Never(t, func() bool { return k.probe.packets.Namespaces().Attached != 2 }, time.Second, time.Millisecond,
		"the other path is still there")
	assert.Equal(t, NetworkNamespaces{Attached: 2, Failed: 1}, k.probe.packets.Namespaces())
	require.Equal(t, 1, logs.Len(), "%v", logs.All())
	assert.Equal(t, filepath.Join(folder, "uts"), logs.All()[0].ContextMap()["path"])
}

// A pattern that matches nothing may be wrong, or early.
func TestTCNamespacesThatAreNotThereYet(t *testing.T) {
	enterNetNS(t)
	folder := t.TempDir()
	wire.NewContainer(t, filepath.Join(folder, "first"))
	wrong := filepath.Join(t.TempDir(), "*")
	core, logs := observer.New(zapcore.InfoLevel)
	k := startLogged(t, testConfig(inNamespaces(TCAuto, folder), func(c *Config) {
		c.NetworkNamespaces = append(c.NetworkNamespaces, wrong)
	}), zap.New(core))
	k.attachedIn(1)
	said := logs.FilterMessage("no network namespace matches interfaces::network_namespaces yet").All()
	require.Len(t, said, 1)
	assert.Equal(t, wrong, said[0].ContextMap()["pattern"])
}

func TestTCNamespacesOverTheLimit(t *testing.T) {
	enterNetNS(t)
	folder := t.TempDir()
	const limit, over = 3, 2
	var containers [limit + over]*wire.Container
	for i := range containers {
		containers[i] = wire.NewContainer(t, filepath.Join(folder, fmt.Sprint(i)))
	}
	core, logs := observer.New(zapcore.WarnLevel)
	k := startLogged(t, testConfig(inNamespaces(TCAuto, folder), func(c *Config) {
		c.MaxNetworkNamespaces = limit
	}), zap.New(core))
	want := NetworkNamespaces{Attached: limit, OverLimit: over}
	wire.Within(t, wire.Soon, func() bool { return k.probe.packets.Namespaces() == want }, "as many as there is room for")
	require.Equal(t, 1, logs.Len(), "%v", logs.All())
	assert.Contains(t, logs.All()[0].Message, "more than limits::network_namespaces allows")

	// One that was left out takes the place of one that ends.
	for _, c := range containers {
		if len(k.interfaces(c.Inode)) > 0 {
			c.Remove()
			break
		}
	}
	want.OverLimit--
	wire.Within(t, wire.Soon, func() bool { return k.probe.packets.Namespaces() == want }, "one less")
	assert.Equal(t, 1, logs.Len(), "%v", logs.All())
	s, _ := k.snapshot(0)
	assert.Equal(t, want, s.Namespaces)
}
