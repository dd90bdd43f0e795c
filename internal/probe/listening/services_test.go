// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package listening

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// namespacesSeen are the facts of a report, by namespace.
type namespacesSeen struct {
	fact.Nop
	all map[uint32]source.Namespace
}

func (s *namespacesSeen) NamespaceSeen(n *source.Namespace) { s.all[n.NetNS] = *n }

func ownNetNS(t *testing.T) uint32 {
	t.Helper()
	var stat unix.Stat_t
	require.NoError(t, unix.Stat("/proc/self/ns/net", &stat))
	return uint32(stat.Ino)
}

// A namespace is read from a process inside, and reported with what it counted since it was
// first read. One that can't be read does not keep others from being reported.
func TestNamespacesAreReportedFromTheirFirstReading(t *testing.T) {
	const unreadable = 2
	own, begin := ownNetNS(t), time.Unix(100, 0)
	s := newServices(1, begin)
	require.Contains(t, s.namespaces, uint32(1))
	delete(s.namespaces, 1) // the test is in another one
	s.opened(&connection.Listener{Socket: 7, NetNS: own}, uint32(os.Getpid()), begin)
	s.opened(&connection.Listener{Socket: 8, NetNS: unreadable}, uint32(os.Getpid()), begin)
	seen := &namespacesSeen{all: make(map[uint32]source.Namespace)}
	require.ErrorContains(t, s.reportNamespaces(begin.Add(time.Second), seen), "in another network namespace")
	require.Contains(t, seen.all, own)
	assert.NotContains(t, seen.all, uint32(unreadable), "absent, not 0")
	assert.Equal(t, time.Second, seen.all[own].Interval)
	for c, n := range seen.all[own].Counters {
		assert.NotNil(t, n, source.NamespaceCounter(c))
	}
	s.ended(7)
	s.ended(8)
	s.ended(8)
	assert.Empty(t, s.namespaces)
	assert.Empty(t, s.listeners)
}

func TestCountersGrow(t *testing.T) {
	count := func(n uint64) *uint64 { return &n }
	last := counters{count(3), count(9), nil, count(4), count(1)}
	grown := last.until(&counters{count(5), count(8), count(7), nil, count(1)})
	assert.Equal(t, counters{count(2), nil, nil, nil, count(0)}, grown)
}

// The kernel reuses the address of a socket whose end was missed.
func TestServicesOfAReusedSocket(t *testing.T) {
	s := newServices(1, time.Now())
	s.opened(&connection.Listener{Socket: 7, NetNS: 2}, 0, time.Now())
	s.opened(&connection.Listener{Socket: 7, NetNS: 3}, 0, time.Now())
	assert.NotContains(t, s.namespaces, uint32(2))
	assert.Contains(t, s.namespaces, uint32(3))
	assert.Len(t, s.listeners, 1)
}
