// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

// Package wire gives tests network namespaces with interfaces between them, and puts frames
// on these.
package wire

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
)

// Soon is the second that is promised, and two more for a machine that is busy with other
// tests.
const Soon = 3 * time.Second

// Emulated reports whether this is a guest of scripts/kernels, by the name that it has.
func Emulated() bool {
	name, err := os.Hostname()
	return err == nil && name == "kernel-under-test"
}

// Patience is a limit of a real machine, or ten times as much on an emulated one.
func Patience(limit time.Duration) time.Duration {
	if Emulated() {
		return 10 * limit
	}
	return limit
}

// Within fails the test when a condition does not come to hold in time. It stays on the
// thread.
func Within(t testing.TB, limit time.Duration, holds func() bool, what string, args ...any) {
	t.Helper()
	limit = Patience(limit)
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(time.Millisecond) {
		require.Falsef(t, time.Now().After(deadline), "not within %s: "+what, append([]any{limit}, args...)...)
	}
}

// Enter moves the test's thread into a new network namespace with loopback up. The thread
// is not given back: the runtime ends it with the goroutine.
func Enter(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	require.NoError(t, unix.Unshare(unix.CLONE_NEWNET))
	SetUp(t, "lo", "")
}

// SetUp sets a device up, with an address if one is given.
func SetUp(t testing.TB, name, address string) {
	t.Helper()
	device, err := netlink.LinkByName(name)
	require.NoError(t, err)
	if address != "" {
		parsed, err := netlink.ParseAddr(address)
		require.NoError(t, err)
		require.NoError(t, netlink.AddrAdd(device, parsed))
	}
	require.NoError(t, netlink.LinkSetUp(device))
}

// AddVeths makes pairs of which one end is called churn000 and so on. The other end is
// here, too.
func AddVeths(t testing.TB, pairs int) {
	t.Helper()
	for i := range pairs {
		AddVeth(t, fmt.Sprintf("churn%03d", i))
	}
}

// AddVeth makes a pair whose other end is called peer-NAME, and is here, too.
func AddVeth(t testing.TB, name string) {
	t.Helper()
	require.NoError(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer-" + name}))
}

// Peer is another network namespace, with a thread of its own in it.
type Peer struct {
	File *netns.Namespace
	do   chan func()
}

// NewPeer makes one, which ends with the test.
func NewPeer(t testing.TB) *Peer {
	t.Helper()
	p := &Peer{do: make(chan func())}
	ready := make(chan error)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			p.File, err = netns.OpenThread()
		}
		ready <- err
		for f := range p.do {
			f()
		}
	}()
	require.NoError(t, <-ready)
	t.Cleanup(func() {
		close(p.do)
		<-done
		p.File.Close()
	})
	return p
}

// In runs f on the peer's thread.
func (p *Peer) In(f func()) {
	done := make(chan struct{})
	p.do <- func() { defer close(done); f() }
	<-done
}

// Veth makes a pair, up and with addresses: one end here, the other at the peer.
func (p *Peer) Veth(t testing.TB, name string) {
	t.Helper()
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 9000}, PeerName: "peer-" + name, PeerMTU: 9000}
	require.NoError(t, netlink.LinkAdd(pair))
	other, err := netlink.LinkByName("peer-" + name)
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetNsFd(other, p.File.FD()))
	SetUp(t, name, "192.0.2.1/24")
	p.In(func() { SetUp(t, "peer-"+name, "192.0.2.7/24") })
}

// EventuallyUp waits for the carrier of a device of the peer, without which frames are
// dropped. The kernel notices it in its own time.
func (p *Peer) EventuallyUp(t testing.TB, name string) {
	t.Helper()
	Within(t, Soon, func() (up bool) {
		p.In(func() {
			device, err := netlink.LinkByName(name)
			up = err == nil && device.Attrs().OperState == netlink.OperUp
		})
		return up
	}, "%s is up", name)
}

// HardwareAddress is that of a device in the thread's namespace.
func HardwareAddress(t testing.TB, device string) net.HardwareAddr {
	t.Helper()
	link, err := netlink.LinkByName(device)
	require.NoError(t, err)
	return link.Attrs().HardwareAddr
}

// Send sends frames as they are from a device of the peer.
func (p *Peer) Send(t testing.TB, device string, frames ...[]byte) {
	t.Helper()
	p.In(func() { Send(t, device, nil, frames...) })
}

// VirtioHeader says that only the first bytes are to be in the linear area.
func VirtioHeader(linear uint16) []byte {
	header := make([]byte, 10)
	binary.NativeEndian.PutUint16(header[2:], linear)
	return header
}

// Send sends frames as they are from a device of the thread's namespace, with a header for
// the kernel if one is given.
func Send(t testing.TB, device string, virtio []byte, frames ...[]byte) {
	t.Helper()
	from, err := netlink.LinkByName(device)
	require.NoError(t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	if virtio != nil {
		require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	}
	for _, frame := range frames {
		to := &unix.SockaddrLinklayer{Ifindex: from.Attrs().Index}
		require.NoError(t, unix.Sendto(fd, append(slices.Clone(virtio), frame...), 0, to))
	}
}
