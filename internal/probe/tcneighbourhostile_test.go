// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// Any user can hold the name of the lock; nothing of ours comes to a stand by it.
func TestTCWithoutTheLock(t *testing.T) {
	const pairs = 5
	enterNetNS(t)
	squatter, err := bindAbstract(tcLockName)
	require.NoError(t, err)
	defer squatter.close()
	addVeths(t, pairs)
	b := openTCBench(t, tcConfig(onVeths(TCClsact)))
	begin := time.Now()
	require.NoError(t, b.start())
	started := time.Since(begin)
	assert.Len(t, b.attachedTo(), 1+pairs)
	begin = time.Now()
	require.NoError(t, b.detach())
	assert.Empty(t, b.attachedTo())
	detached := time.Since(begin)
	t.Logf("start took %s, detach %s", started, detached)
	if !emulated() {
		assert.Less(t, started, 2*tcLockWait)
		assert.Less(t, detached, tcLockWait)
	}
}

// Who puts another filter in the place of ours tells only of one that is new.
func TestTCComesBackAfterItsFilterWasReplaced(t *testing.T) {
	s := newTCStreet(t)
	n := s.neighbour()
	b := openTCBench(t, tcConfig(mode(TCClsact), included(tcStreetDevice)))
	require.NoError(t, b.start())
	b.mu.Lock()
	theirs := b.interfaces[n.device.Attrs().Index].hooks[tcIngress].(*tcFilter).filter
	b.mu.Unlock()
	theirs.Fd, theirs.Name = n.program[tcIngress].FD(), "theirs"
	require.NoError(t, netlink.FilterReplace(&theirs))
	n.eventually(func(_ onTC, filters []tcFilterName, _ int) bool { return len(filters) == 2 })
	s.see(tcIngress, map[tcSeer]bool{&tcStreetBench{tcBench: b}: true})
	require.NoError(t, netlink.FilterDel(&theirs))
}

func TestTCWatchTellsOfReplacedFilters(t *testing.T) {
	enterNetNS(t)
	n := newNeighbour(t, "lo", 0)
	require.NoError(t, netlink.QdiscAdd(clsact(loopbackIndex)))
	w, err := newTCWatch()
	require.NoError(t, err)
	defer func() { require.NoError(t, w.close()) }()
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: loopbackIndex, Parent: tcParent(tcIngress), Handle: 7, Priority: 1, Protocol: unix.ETH_P_ALL,
		},
		Fd: n.program[tcIngress].FD(), Name: "theirs", DirectAction: true,
	}
	told := func(limit time.Duration) bool {
		came, err := w.wait(time.Now().Add(limit))
		require.NoError(t, err)
		return came
	}
	require.NoError(t, netlink.FilterAdd(filter))
	assert.False(t, told(200*time.Millisecond), "it takes nobody's place")
	require.NoError(t, netlink.FilterReplace(filter))
	assert.True(t, told(5*time.Second))
}

// Anyone can keep the filters of a dead instance by holding its name; but not unseen.
func TestTCTellsOfFiltersThatStay(t *testing.T) {
	s := newTCStreet(t)
	n := s.neighbour()
	crashed := startProcess(t, onlyAnInstance, tcStreetDevice)
	_, filters, _ := n.tcOf()
	require.Len(t, filters, 2)
	crashed.kill()
	name := instanceName(filters[0].instance)
	squatter, err := bindAbstract(name)
	require.NoError(t, err)
	defer squatter.close()
	c := startCollector(t, TCAuto, "first", "lo")
	assert.Contains(t, c.log.String(), "filters of other instances stay")
	assert.Contains(t, c.log.String(), "@"+name)
	c.stop()
	_, filters, _ = n.tcOf()
	assert.Len(t, filters, 2)
}

// A diagnosis tries one interface, and removes nothing that it did not make.
func TestTCDiagnosisLeavesTheRestAlone(t *testing.T) {
	s := newTCStreet(t)
	n := s.neighbour()
	crashed := startProcess(t, onlyAnInstance, tcStreetDevice)
	crashed.kill()
	addVeths(t, 2)
	b := openTCBench(t, tcConfig(mode(TCClsact), included("churn*", tcStreetDevice)))
	b.options.trial = true
	way := b.diagnose()
	assert.Empty(t, way.Error)
	assert.Len(t, b.attachedTo(), 1)
	require.NoError(t, b.close())
	_, filters, _ := n.tcOf()
	assert.Len(t, filters, 2, "of the one that crashed")
}

func TestTCRemovalsAreTold(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	logger := zap.New(core)
	var r tcRemovals
	for range 100 {
		r.report(logger, "eth0")
	}
	require.Equal(t, 1, logs.Len())
	r.next = time.Time{}
	r.report(logger, "eth0")
	assert.EqualValues(t, 100, logs.All()[1].ContextMap()["interfaces since the last message"])
}
