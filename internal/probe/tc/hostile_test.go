// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package tc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// Any user can hold the name of the lock; nothing of ours comes to a stand by it.
func TestWithoutTheLock(t *testing.T) {
	const pairs = 5
	wire.Enter(t)
	squatter, err := bindAbstract(lockName)
	require.NoError(t, err)
	defer squatter.close()
	addVeths(t, pairs)
	c := newCounter(t, "lo", 0)
	begin := time.Now()
	u := c.join(NewRegistry(), c.attachable(Clsact, including("lo", "churn*")))
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
	s := newStreet(t)
	n, ours := s.counter(), s.counter()
	u := ours.join(NewRegistry(), ours.attachable(Clsact))
	u.manager.mu.Lock()
	theirs := u.interfaces[n.device.Attrs().Index].hooks[Ingress].(*filter).filter
	u.manager.mu.Unlock()
	theirs.Fd, theirs.Name = n.program[Ingress].FD(), "theirs"
	require.NoError(t, netlink.FilterReplace(&theirs))
	n.eventually(func(_ onTC, filters []filterName, _ int) bool { return len(filters) == 2 })
	s.see(Ingress, map[seer]bool{u: true})
	require.NoError(t, netlink.FilterDel(&theirs))
}

func TestWatchReportsReplacedFilters(t *testing.T) {
	wire.Enter(t)
	n := newCounter(t, "lo", 0)
	require.NoError(t, netlink.QdiscAdd(clsact(loopbackIndex)))
	w, err := newWatch()
	require.NoError(t, err)
	defer func() { require.NoError(t, w.close()) }()
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: loopbackIndex, Parent: parentOf(Ingress), Handle: 7, Priority: 1, Protocol: unix.ETH_P_ALL,
		},
		Fd: n.program[Ingress].FD(), Name: "theirs", DirectAction: true,
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
	s := newStreet(t)
	n := s.counter()
	crashed := s.process(Clsact, "first")
	_, filters, _ := n.tcOf()
	require.Len(t, filters, 2)
	crashed.kill()
	name := instanceName(filters[0].instance)
	squatter, err := bindAbstract(name)
	require.NoError(t, err)
	defer squatter.close()
	p := startProcess(t, Auto, "first", "lo")
	p.logs("keeping the filters of other instances")
	p.logs("@" + name)
	p.stop()
	_, filters, _ = n.tcOf()
	assert.Len(t, filters, 2)
}

// A trial takes one interface, and removes nothing that it did not make.
func TestTrialLeavesTheRestAlone(t *testing.T) {
	s := newStreet(t)
	n, ours := s.counter(), s.counter()
	s.process(Clsact, "first").kill()
	addVeths(t, 2)
	u := ours.join(NewTrial(), ours.attachable(Clsact, including("churn*", streetDevice)))
	u.noErrors()
	assert.Len(t, u.Interfaces(), 1)
	u.leave()
	_, filters, _ := n.tcOf()
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
