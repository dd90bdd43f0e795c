// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace made by a test.
type namespace struct{ name string }

// network is a server and a client, one veth pair apart.
type network struct {
	server, client namespace
	// Addresses of either end, IPv4 and IPv6.
	server4, server6, client4, client6 netip.Addr
}

// networks numbers the networks of this process, so that none collide.
var networks atomic.Int32

// newNetwork makes a network that ends with the test.
func newNetwork(t *testing.T) *network {
	t.Helper()
	number := networks.Add(1)
	id := fmt.Sprintf("%d-%d", os.Getpid(), number)
	n := &network{
		server:  namespace{"ebpftcp-s" + id},
		client:  namespace{"ebpftcp-c" + id},
		server4: netip.MustParseAddr(fmt.Sprintf("10.213.%d.1", number)),
		client4: netip.MustParseAddr(fmt.Sprintf("10.213.%d.2", number)),
		server6: netip.MustParseAddr(fmt.Sprintf("fd5e:b9f:%x::1", number)),
		client6: netip.MustParseAddr(fmt.Sprintf("fd5e:b9f:%x::2", number)),
	}
	for _, ns := range []namespace{n.server, n.client} {
		run(t, "ip", "netns", "add", ns.name)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns.name).Run() })
		ns.ip(t, "link set lo up")
	}
	n.server.ip(t, "link add eth0 type veth peer name eth0 netns "+n.client.name)
	for _, end := range []struct {
		ns     namespace
		v4, v6 netip.Addr
	}{{n.server, n.server4, n.server6}, {n.client, n.client4, n.client6}} {
		end.ns.ip(t, fmt.Sprintf("addr add %s/24 dev eth0", end.v4))
		end.ns.ip(t, fmt.Sprintf("addr add %s/64 dev eth0 nodad", end.v6))
		end.ns.ip(t, "link set eth0 up")
	}
	return n
}

// ip runs ip(8) inside the namespace.
func (ns namespace) ip(t *testing.T, args string) {
	t.Helper()
	run(t, "ip", append([]string{"-n", ns.name}, strings.Fields(args)...)...)
}

// command prepares a program that runs inside; the zero namespace is the host's.
func (ns namespace) command(name string, args ...string) *exec.Cmd {
	if ns.name == "" {
		return exec.Command(name, args...)
	}
	return exec.Command("ip", append([]string{"netns", "exec", ns.name, name}, args...)...)
}

// run executes a program inside to its end and returns what it printed.
func (ns namespace) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := ns.command(name, args...)
	return run(t, cmd.Path, cmd.Args[1:]...)
}

// nft adds rules inside.
func (ns namespace) nft(t *testing.T, rules string) {
	t.Helper()
	ns.run(t, "nft", rules)
}

// inode is the namespace's number, as tcp.netns.inode has it.
func (ns namespace) inode(t *testing.T) int64 {
	t.Helper()
	var stat unix.Stat_t
	require.NoError(t, unix.Stat("/run/netns/"+ns.name, &stat))
	return int64(stat.Ino)
}

// targetOf is a port of the network's server over IPv4.
func targetOf(n *network, port int) netip.AddrPort {
	return netip.AddrPortFrom(n.server4, uint16(port))
}
