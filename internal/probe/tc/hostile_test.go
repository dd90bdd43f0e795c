// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package tc

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/street"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// Any user can hold the name of the lock; nothing of ours comes to a stand by it.
func TestWithoutTheLock(t *testing.T) {
	const pairs = 5
	wire.Enter(t)
	squatter, err := net.Listen("unix", "@ebpf_tcp-lock")
	require.NoError(t, err)
	defer func() { require.NoError(t, squatter.Close()) }()
	addVeths(t, pairs)
	c := street.NewCounter(t, "lo", 0)
	begin := time.Now()
	u := join(c, NewRegistry(), attachable(c, Clsact, including("lo", "churn*")))
	started := time.Since(begin)
	assert.Len(t, u.Interfaces(), 1+pairs)
	begin = time.Now()
	u.leave()
	assert.Empty(t, u.Interfaces())
	detached := time.Since(begin)
	t.Logf("start took %s, detach %s", started, detached)
	assert.Less(t, started, wire.Patience(2*LockWait))
	assert.Less(t, detached, wire.Patience(LockWait))
}

// A filter that takes the place of ours is reported as a new filter only.
func TestComesBackAfterItsFilterWasReplaced(t *testing.T) {
	s := street.New(t)
	n, ours := s.Counter(), s.Counter()
	u := join(ours, NewRegistry(), attachable(ours, Clsact))
	_, filters, _ := n.Of()
	theirs := *filters[0].BPF
	require.Equal(t, Ingress, filters[0].Direction)
	theirs.Fd, theirs.Name = n.Program[Ingress].FD(), "theirs"
	require.NoError(t, netlink.FilterReplace(&theirs))
	n.Eventually(func(_ street.OnTC, filters []street.Filter, _ int) bool { return len(filters) == 2 })
	s.See(Ingress, map[street.Seer]bool{u: true})
	require.NoError(t, netlink.FilterDel(&theirs))
}

func TestWatchReportsReplacedFilters(t *testing.T) {
	wire.Enter(t)
	n := street.NewCounter(t, "lo", 0)
	require.NoError(t, netlink.QdiscAdd(street.Clsact(1)))
	w, err := newWatch()
	require.NoError(t, err)
	defer func() { require.NoError(t, w.close()) }()
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: 1, Parent: street.Parent(Ingress), Handle: 7, Priority: 1, Protocol: unix.ETH_P_ALL,
		},
		Fd: n.Program[Ingress].FD(), Name: "theirs", DirectAction: true,
	}
	reported := func(limit time.Duration) bool {
		came, err := w.wait(time.Now().Add(limit))
		require.NoError(t, err)
		return came
	}
	require.NoError(t, netlink.FilterAdd(filter))
	assert.False(t, reported(200*time.Millisecond), "it takes nobody's place")
	require.NoError(t, netlink.FilterReplace(filter))
	assert.True(t, reported(5*time.Second))
}

// Anyone can keep the filters of a dead instance by holding its name; but not unseen.
func TestReportsFiltersThatStay(t *testing.T) {
	s := street.New(t)
	n := s.Counter()
	crashed := startOn(s, Clsact, "first")
	_, filters, _ := n.Of()
	require.Len(t, filters, 2)
	crashed.kill()
	name := filters[0].Instance
	squatter, err := net.Listen("unix", "@"+name)
	require.NoError(t, err)
	defer func() { require.NoError(t, squatter.Close()) }()
	p := startProcess(t, Auto, "first", "lo")
	p.logs("keeping the filters of other instances")
	p.logs("@" + name)
	p.stop()
	_, filters, _ = n.Of()
	assert.Len(t, filters, 2)
}

// A trial takes one interface, and removes nothing that it did not make.
func TestTrialLeavesTheRestAlone(t *testing.T) {
	s := street.New(t)
	n, ours := s.Counter(), s.Counter()
	startOn(s, Clsact, "first").kill()
	addVeths(t, 2)
	u := join(ours, NewTrial(), attachable(ours, Clsact, including("churn*", street.Device)))
	u.noErrors()
	assert.Len(t, u.Interfaces(), 1)
	u.leave()
	_, filters, _ := n.Of()
	assert.Len(t, filters, 2, "of the one that crashed")
}

func TestRemovalsAreReported(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	logger := zap.New(core)
	var r removals
	for range 100 {
		r.report(logger, "test", "eth0")
	}
	require.Equal(t, 1, logs.Len())
	r.next = time.Time{}
	r.report(logger, "test", "eth0")
	assert.EqualValues(t, 100, logs.All()[1].ContextMap()["interfaces since the last message"])
}
