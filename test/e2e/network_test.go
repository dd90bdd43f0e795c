// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// namespace is a network namespace whose methods fail the test; the zero value is the
// host's.
type namespace struct{ lab.Namespace }

// network is a server and a client, one veth pair apart.
type network struct {
	*lab.Network
	server, client namespace
}

// networks numbers the networks of this process, so that none collide.
var networks atomic.Int32

// newNetwork makes a network that ends with the test.
func newNetwork(t *testing.T) *network {
	t.Helper()
	n, err := lab.NewNetwork(int(networks.Add(1)))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return &network{n, namespace{n.Server}, namespace{n.Client}}
}

// run executes a program inside to its end and returns what it printed.
func (ns namespace) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := ns.Command(name, args...)
	return run(t, cmd.Path, cmd.Args[1:]...)
}

// ip runs ip(8) inside the namespace.
func (ns namespace) ip(t *testing.T, args string) {
	t.Helper()
	run(t, "ip", append([]string{"-n", string(ns.Namespace)}, strings.Fields(args)...)...)
}

// nft adds rules inside.
func (ns namespace) nft(t *testing.T, rules string) {
	t.Helper()
	ns.run(t, "nft", rules)
}

// scrape reads a Prometheus endpoint on loopback.
func (ns namespace) scrape(t *testing.T, port int) []lab.Metric {
	t.Helper()
	metrics, err := ns.Scrape(t.Context(), port)
	require.NoError(t, err)
	return metrics
}

// counter is one of the kernel's TCP counters.
func (ns namespace) counter(t *testing.T, name string) float64 {
	t.Helper()
	counters, err := ns.Counters(t.Context())
	require.NoError(t, err)
	require.Contains(t, counters, name)
	return counters[name]
}

// inode is the namespace's number, as tcp.netns.inode has it.
func (ns namespace) inode(t *testing.T) int64 {
	t.Helper()
	var stat unix.Stat_t
	require.NoError(t, unix.Stat("/run/netns/"+string(ns.Namespace), &stat))
	return int64(stat.Ino)
}
