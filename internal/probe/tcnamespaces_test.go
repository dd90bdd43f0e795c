// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
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
)

// container is a network namespace that nothing but its file keeps alive, as those
// of "ip netns add" and of container runtimes.
type container struct {
	t     *testing.T
	path  string
	inode uint32
}

// newContainer makes the file, then mounts the namespace on it. What prepare makes
// inside is there before.
func newContainer(t *testing.T, path string, prepare ...func()) *container {
	t.Helper()
	done := make(chan error)
	c := &container{t: t, path: path}
	go func() {
		runtime.LockOSThread()
		home, err := netns.OpenThread()
		if err == nil {
			defer home.Close()
			err = errors.Join(unix.Unshare(unix.CLONE_NEWNET), os.WriteFile(path, nil, 0o444))
		}
		for _, f := range prepare {
			f()
		}
		err = errors.Join(err, unix.Mount(netns.ThreadFile, path, "none", unix.MS_BIND, ""), home.Enter())
		runtime.UnlockOSThread()
		done <- err
	}()
	require.NoError(t, <-done)
	var stat unix.Stat_t
	require.NoError(t, unix.Stat(path, &stat))
	c.inode = uint32(stat.Ino)
	t.Cleanup(c.remove)
	return c
}

// remove may be called twice.
func (c *container) remove() {
	_ = unix.Unmount(c.path, unix.MNT_DETACH)
	_ = os.Remove(c.path)
}

// in runs f inside.
func (c *container) in(f func()) {
	c.t.Helper()
	namespace, err := netns.Open(c.path)
	require.NoError(c.t, err)
	defer namespace.Close()
	require.NoError(c.t, namespace.Run(func() error { f(); return nil }))
}

// connect makes a veth pair: host here, with 192.0.2.1, and eth0 inside, with
// 192.0.2.2.
func (c *container) connect(host string) {
	c.t.Helper()
	namespace, err := netns.Open(c.path)
	require.NoError(c.t, err)
	defer namespace.Close()
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: host}, PeerName: "eth0",
		PeerNamespace: netlink.NsFd(namespace.FD()),
	}
	require.NoError(c.t, netlink.LinkAdd(pair))
	setUp(c.t, host, "192.0.2.1/24")
	c.in(func() { setUp(c.t, "eth0", "192.0.2.2/24") })
}

// listen accepts inside and sends back what it gets.
func (c *container) listen(port string) (stop func()) {
	c.t.Helper()
	var listener net.Listener
	c.in(func() { listener = echo(c.t, ":"+port) })
	return func() { require.NoError(c.t, listener.Close()) }
}

func echo(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp4", address)
	require.NoError(t, err)
	go func() {
		for {
			server, err := listener.Accept()
			if err != nil {
				return
			}
			// Not by splice, whose pipes stay open for the next time.
			_, _ = io.Copy(struct{ io.Writer }{server}, struct{ io.Reader }{server})
			_ = server.Close()
		}
	}()
	return listener
}

// talk sends one message, waits for the answer and for the end.
func talk(t *testing.T, address string) {
	t.Helper()
	client, err := net.DialTimeout("tcp4", address, 5*time.Second)
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, client.(*net.TCPConn).CloseWrite())
	answer, err := io.ReadAll(client)
	require.NoError(t, err)
	require.Equal(t, "hello", string(answer))
}

// emulated tells whether this is a guest of scripts/kernels, by the name that it has.
func emulated() bool {
	name, err := os.Hostname()
	return err == nil && name == "kernel-under-test"
}

// inNamespaces asks for TC in the namespaces of a folder.
func inNamespaces(m TCMode, folder string) func(*Config) {
	return func(c *Config) {
		c.TCMode = m
		c.IncludeInterfaces = []string{"*"}
		c.NetworkNamespaces, c.MaxNetworkNamespaces = []string{filepath.Join(folder, "*")}, 64
	}
}

// attachedIn waits until that many namespaces are looked at.
func (k *kernel) attachedIn(number int) {
	k.t.Helper()
	within(k.t, soon, func() bool { return k.probe.tc.namespaces().Attached == number },
		"looking at packets in %d namespaces", number)
}

// soon is the second that is promised, and two more for a machine that is busy with
// other tests.
const soon = 3 * time.Second

// within fails the test when the condition does not come to hold in time, which is
// that of a real machine: an emulated one has ten times as much.
func within(t *testing.T, limit time.Duration, holds func() bool, what string, args ...any) {
	t.Helper()
	if emulated() {
		limit *= 10
	}
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(time.Millisecond) {
		require.Falsef(t, time.Now().After(deadline), "not within %s: "+what, append([]any{limit}, args...)...)
	}
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
		early := newContainer(t, filepath.Join(folder, "early"))
		early.connect("to-early")
		stop := early.listen("8080")
		k := startProbe(t, testConfig(inNamespaces(m, folder), func(c *Config) {
			c.HalfOpen, c.HandshakeTimeout = true, 100*time.Millisecond
			c.PacketClasses, c.PacketsPerSecond = []packet.Class{packet.SYN}, 1000
		}))
		k.netns = early.inode
		k.attachedIn(1)

		talk(t, "192.0.2.2:8080")
		k.until("close", func() bool { return len(k.closed) == 1 })
		assert.Equal(t, "eth0", k.closed[0].Interface, "the name inside")
		require.Len(t, k.packets, 1)
		assert.Equal(t, early.inode, k.packets[0].NetNS)
		assert.Equal(t, "eth0", k.packets[0].Interface)
		eth0 := k.interfaces(early.inode)["eth0"]
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

		early.sendSYN("to-early")
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
		again := early.listen("8081")
		talk(t, "192.0.2.2:8081")
		again()
		assert.EqualValues(t, 3, k.interfaces(early.inode)["eth0"].Packets[packet.SYN], "8080, half-open, 8081")

		// The end of a namespace: its veth goes with it, here, too.
		early.remove()
		k.attachedIn(0)
		within(t, soon, func() bool { _, err := net.InterfaceByName("to-early"); return err != nil },
			"the namespace ends")
		assert.EqualValues(t, 3, k.interfaces(early.inode)["eth0"].Packets[packet.SYN], "its last counts")
		assert.Empty(t, k.interfaces(early.inode), "come once")

		// The listener was there before the namespace had a file.
		var listener net.Listener
		late := newContainer(t, filepath.Join(folder, "late"), func() {
			setLoopback(t, true)
			listener = echo(t, ":8080")
		})
		late.connect("to-late")
		k.netns, k.listeners = late.inode, nil
		k.attachedIn(1)
		k.until("listener", func() bool {
			return slices.ContainsFunc(k.listeners, func(l connection.Listener) bool { return l.Address.Port() == 8080 })
		})
		within(t, soon, func() bool { _, ok := k.interfaces(late.inode)["eth0"]; return ok }, "eth0 is looked at")
		talk(t, "192.0.2.2:8080")
		assert.EqualValues(t, 1, k.interfaces(late.inode)["eth0"].Packets[packet.SYN])
		require.NoError(t, listener.Close())
	})
}

// sendSYN sends from an address that will not answer.
func (c *container) sendSYN(device string) {
	t := c.t
	t.Helper()
	link := ethernet(layers.EthernetTypeIPv4)
	c.in(func() { link.DstMAC = hardwareAddress(t, "eth0") })
	from, err := netlink.LinkByName(device)
	require.NoError(t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	frame := build(t, link, ipv4(func(ip *layers.IPv4) {
		ip.DstIP = net.IPv4(192, 0, 2, 2)
	}), tcpSegment(onlySYN))
	require.NoError(t, unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: from.Attrs().Index}))
}

func hardwareAddress(t *testing.T, device string) net.HardwareAddr {
	t.Helper()
	link, err := netlink.LinkByName(device)
	require.NoError(t, err)
	return link.Attrs().HardwareAddr
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
	first := newContainer(t, filepath.Join(folder, "first"))
	bind(first.path, "again")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "empty"), nil, 0o444))
	require.NoError(t, unix.Mkfifo(filepath.Join(folder, "fifo"), 0o644))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(folder, "dangling")))

	core, logs := observer.New(zapcore.WarnLevel)
	k := startLogged(t, testConfig(inNamespaces(TCAuto, folder)), zap.New(core))
	k.attachedIn(1)
	newContainer(t, filepath.Join(folder, "empty"))
	k.attachedIn(2)
	first.remove()
	require.Never(t, func() bool { return k.probe.tc.namespaces().Attached != 2 }, 3*tcNamespacePoll, time.Millisecond,
		"the other path is still there")
	assert.Equal(t, NetworkNamespaces{Attached: 2, Failed: 1}, k.probe.tc.namespaces())
	require.Equal(t, 1, logs.Len(), "%v", logs.All())
	assert.Equal(t, filepath.Join(folder, "uts"), logs.All()[0].ContextMap()["path"])
}

// A pattern that matches nothing may be wrong, or early.
func TestTCNamespacesThatAreNotThereYet(t *testing.T) {
	enterNetNS(t)
	folder := t.TempDir()
	newContainer(t, filepath.Join(folder, "first"))
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
	var containers [limit + over]*container
	for i := range containers {
		containers[i] = newContainer(t, filepath.Join(folder, fmt.Sprint(i)))
	}
	core, logs := observer.New(zapcore.WarnLevel)
	k := startLogged(t, testConfig(inNamespaces(TCAuto, folder), func(c *Config) {
		c.MaxNetworkNamespaces = limit
	}), zap.New(core))
	want := NetworkNamespaces{Attached: limit, OverLimit: over}
	within(t, soon, func() bool { return k.probe.tc.namespaces() == want }, "as many as there is room for")
	require.Equal(t, 1, logs.Len(), "%v", logs.All())
	assert.Contains(t, logs.All()[0].Message, "more than limits::network_namespaces allows")

	// One that was left out takes the place of one that ends.
	k.probe.tc.mu.Lock()
	var gone uint32
	for gone = range k.probe.tc.others {
		break
	}
	k.probe.tc.mu.Unlock()
	for _, c := range containers {
		if c.inode == gone {
			c.remove()
		}
	}
	want.OverLimit--
	within(t, soon, func() bool { return k.probe.tc.namespaces() == want }, "one less")
	assert.Equal(t, 1, logs.Len(), "%v", logs.All())
	s, _ := k.snapshot(0)
	assert.Equal(t, want, s.Namespaces)
}

// Without CAP_SYS_ADMIN one line says what is lost, and our own namespace is looked
// at all the same.
func TestTCNamespacesWithoutTheCapability(t *testing.T) {
	enterNetNS(t)
	newPeer(t).veth(t, "own")
	folder := t.TempDir()
	newContainer(t, filepath.Join(folder, "other"))
	cfg := tcConfig(inNamespaces(TCAuto, folder))
	b := newTCBench(t, cfg)
	require.NoError(t, b.close())
	core, logs := observer.New(zapcore.WarnLevel)
	m := newTCNamespaces(&cfg, b.options, b.ports, zap.New(core))
	defer func() { require.NoError(t, m.close()) }()

	setCapability(t, unix.CAP_SYS_ADMIN, false)
	err := m.start()
	setCapability(t, unix.CAP_SYS_ADMIN, true)
	require.NoError(t, err)
	hooks := m.hooks()
	require.Len(t, hooks, 3)
	for _, hook := range hooks[:2] {
		assert.True(t, hook.Attached, hook.Name)
		assert.NoError(t, hook.Err)
	}
	assert.False(t, hooks[2].Attached)
	require.ErrorContains(t, hooks[2].Err, "interfaces::network_namespaces: CAP_SYS_ADMIN is missing")
	assert.Zero(t, logs.Len(), "the receiver says what hooks lack: %v", logs.All())
}

// setCapability is about the test's thread alone.
func setCapability(t *testing.T, capability int, on bool) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	require.NoError(t, unix.Capget(&header, &data[0]))
	data[capability/32].Effective &^= 1 << (capability % 32)
	if on {
		data[capability/32].Effective |= 1 << (capability % 32)
	}
	require.NoError(t, unix.Capset(&header, &data[0]))
}
