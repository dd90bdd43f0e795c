// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
)

// Container is a network namespace that nothing but its file keeps alive, as those of
// "ip netns add" and of container runtimes.
type Container struct {
	t     testing.TB
	Path  string
	Inode uint32
}

// NewContainer makes the file, then mounts the namespace on it. What prepare makes inside is
// there before.
func NewContainer(t testing.TB, path string, prepare ...func()) *Container {
	t.Helper()
	done := make(chan error)
	c := &Container{t: t, Path: path}
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
	inode, err := netns.InodeAt(path)
	require.NoError(t, err)
	c.Inode = inode
	t.Cleanup(c.Remove)
	return c
}

// Remove may be called twice.
func (c *Container) Remove() {
	_ = unix.Unmount(c.Path, unix.MNT_DETACH)
	_ = os.Remove(c.Path)
}

// In runs f inside.
func (c *Container) In(f func()) {
	c.t.Helper()
	namespace, err := netns.Open(c.Path)
	require.NoError(c.t, err)
	defer namespace.Close()
	require.NoError(c.t, namespace.Run(func() error { f(); return nil }))
}

// Connect makes a veth pair: host here, with 192.0.2.1, and eth0 inside, with 192.0.2.2.
func (c *Container) Connect(host string) {
	c.t.Helper()
	namespace, err := netns.Open(c.Path)
	require.NoError(c.t, err)
	defer namespace.Close()
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: host}, PeerName: "eth0",
		PeerNamespace: netlink.NsFd(namespace.FD()),
	}
	require.NoError(c.t, netlink.LinkAdd(pair))
	SetUp(c.t, host, "192.0.2.1/24")
	c.In(func() { SetUp(c.t, "eth0", "192.0.2.2/24") })
}

// Listen accepts inside and sends back what it gets.
func (c *Container) Listen(port string) (stop func()) {
	c.t.Helper()
	var listener net.Listener
	c.In(func() { listener = Echo(c.t, ":"+port) })
	return func() { require.NoError(c.t, listener.Close()) }
}

// Echo accepts in the thread's namespace and sends back what it gets.
func Echo(t testing.TB, address string) net.Listener {
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

// Talk sends one message, waits for the answer and for the end.
func Talk(t testing.TB, address string) {
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
