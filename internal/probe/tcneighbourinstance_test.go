// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"errors"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
)

func TestTCFilterNames(t *testing.T) {
	for name, want := range map[string]tcFilterName{
		"ebpf_tcp-0000000f-ingress":       {instance: 15, direction: tcIngress},
		"ebpf_tcp-89abcdef-egress":        {instance: 0x89abcdef, direction: tcEgress},
		"ebpf_tcp-89abcdef-ingress+qdisc": {instance: 0x89abcdef, direction: tcIngress, ourQdisc: true},
	} {
		got, ok := parseTCFilterName(name)
		assert.True(t, ok, name)
		assert.Equal(t, want, got)
		assert.Equal(t, name, got.String())
	}
	for _, name := range []string{
		"", "cil_from_netdev", "ebpf_tcp-", "ebpf_tcp-f-ingress", "ebpf_tcp-0000000F-ingress",
		"0000000f-ingress", "ebpf_tcp-0000000f", "ebpf_tcp-0000000f-sideways", "ebpf_tcp-0000000f-ingress+",
		"ebpf_tcp-0000000f-ingress+qdisc+qdisc", "ebpf_tcp-10000000f-ingress", "ebpf_tcp-0000000f-ingress ",
	} {
		_, ok := parseTCFilterName(name)
		assert.False(t, ok, name)
	}
}

func TestTCInstanceLives(t *testing.T) {
	enterNetNS(t)
	i, err := newTCInstance()
	require.NoError(t, err)
	_, dead := claimDead(i.id)
	assert.False(t, dead)

	assert.True(t, i.here())

	newPeer(t).in(func() {
		assert.False(t, i.here())
		release, dead := claimDead(i.id)
		assert.True(t, dead, "its name is not known in another network namespace")
		release()
	})
	// What it starts is not it.
	child := exec.Command("/proc/self/exe")
	child.Env = []string{collectorEnv + "=" + string(TCOff) + " first lo"}
	in, err := child.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	i.close()
	release, dead := claimDead(i.id)
	assert.True(t, dead)
	_, again := claimDead(i.id)
	assert.False(t, again, "one at a time removes what a dead one left")
	release()
	require.NoError(t, in.Close())
	require.NoError(t, child.Wait())
}

// newTestAttacher adds filters; who uses it releases the lock after each change.
func newTestAttacher(cfg *Config, handle *netlink.Handle) *tcAttacher {
	return newTCAttacher(cfg, handle, new(atomic.Pointer[time.Time]), zap.NewNop())
}

// A change waits once for who holds the lock, and for a while no other one waits.
func TestTCLockIsNotForEver(t *testing.T) {
	enterNetNS(t)
	var stopBy atomic.Pointer[time.Time]
	core, logs := observer.New(zap.WarnLevel)
	l := tcLock{logger: zap.New(core), stopBy: &stopBy}
	takes := func() time.Duration {
		begin := time.Now()
		l.take()
		l.take()
		l.release()
		return time.Since(begin)
	}
	l.take()
	_, err := bindAbstract(tcLockName)
	require.ErrorIs(t, err, unix.EADDRINUSE)
	l.release()
	squatter, err := bindAbstract(tcLockName)
	require.NoError(t, err)
	defer squatter.close()

	took := takes()
	assert.GreaterOrEqual(t, took, tcLockWait)
	assert.Less(t, took, 2*tcLockWait)
	assert.Less(t, takes(), tcLockWait/2)
	assert.Equal(t, 1, logs.Len())

	l.waitAgain = time.Time{}
	past := time.Now()
	stopBy.Store(&past)
	assert.Less(t, takes(), tcLockWait/2, "to stop is not to wait")
}

// instance attaches the neighbour's programs as if they were ours.
func (n *neighbour) instance() (detach func()) {
	n.t.Helper()
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	require.NoError(n.t, err)
	a := newTestAttacher(&Config{Packets: Packets{TCMode: TCClsact}}, handle)
	var hooks []tcHook
	for d := range tcDirections {
		hook, err := a.attach(n.device.Attrs().Index, d, n.program[d])
		require.NoError(n.t, err)
		hooks = append(hooks, hook)
	}
	a.lock.release()
	return func() {
		n.t.Helper()
		for _, hook := range hooks {
			assert.NoError(n.t, hook.detach())
		}
		a.close()
		handle.Close()
	}
}

// An interface takes no filter along to another network namespace, where the name of
// its instance would not be known.
func TestTCFiltersStayInTheirNamespace(t *testing.T) {
	s := newTCStreet(t)
	n := s.neighbour()
	detach := n.instance()
	_, filters, _ := n.tcOf()
	require.Len(t, filters, 2)
	require.NoError(t, netlink.LinkSetNsFd(n.device, s.other.file.FD()))
	s.other.in(func() {
		moved, err := netlink.LinkByName(tcStreetDevice)
		require.NoError(t, err)
		n.device = moved
		others, filters, _ := n.tcOf()
		assert.Empty(t, filters)
		assert.Empty(t, others.Qdiscs)
	})
	detach()
}

// On a thread in another network namespace everybody seems to be dead.
func TestTCDetachesFromElsewhere(t *testing.T) {
	s := newTCStreet(t)
	n, other := s.neighbour(), s.neighbour()
	detach, detachOther := n.instance(), other.instance()
	s.other.in(detach)
	_, filters, _ := n.tcOf()
	assert.Len(t, filters, 2)
	for _, d := range tcBothDirections {
		s.see(d, map[tcSeer]bool{n: false, other: true})
	}
	detachOther()
	others, _, _ := n.tcOf()
	assert.Equal(t, onTC{}, others)
}

// What is left after a crash goes with the next start, wherever that one looks.
func TestTCRemovesWhatDeadInstancesLeft(t *testing.T) {
	s := newTCStreet(t)
	for _, name := range []string{"theirs", "elsewhere"} {
		require.NoError(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer-" + name}))
	}
	ours, theirs := s.neighbour(), newNeighbour(t, "theirs", 0)
	require.NoError(t, netlink.QdiscAdd(clsact(theirs.device.Attrs().Index)))
	expect := func(filters, qdiscs, filtersInTheirs int) {
		t.Helper()
		others, left, _ := ours.tcOf()
		assert.Len(t, left, filters)
		assert.Len(t, others.Qdiscs, qdiscs)
		others, left, _ = theirs.tcOf()
		assert.Len(t, left, filtersInTheirs)
		assert.Len(t, others.Qdiscs, 1)
	}
	crashed := startProcess(t, onlyAnInstance, tcStreetDevice, "theirs")
	living := startProcess(t, onlyAnInstance, tcStreetDevice)
	crashed.kill()
	expect(4, 1, 2)
	startCollector(t, TCOff, "first", "elsewhere").stop()
	expect(4, 1, 2)

	c := startCollector(t, TCAuto, "first", "elsewhere")
	assert.Contains(t, c.log.String(), `removed the filters of instances that are dead	{"filters": 4}`)
	expect(2, 1, 0)
	c.stop()
	living.kill()
	expect(2, 1, 0)

	c = startCollector(t, TCAuto, "first", "elsewhere")
	assert.Contains(t, c.log.String(), `removed the filters of instances that are dead	{"filters": 2}`)
	expect(0, 0, 0)
	c.stop()
}

func TestTCTwoCollectors(t *testing.T) {
	for _, m := range []TCMode{TCX, TCClsact} {
		t.Run(string(m), func(t *testing.T) {
			needingMode(t, m)
			s := newTCStreet(t)
			see := func(collectors ...*collector) {
				t.Helper()
				all := make(map[tcSeer]bool)
				for _, c := range collectors {
					all[c] = true
				}
				for _, d := range tcBothDirections {
					s.see(d, all)
				}
			}
			// The first one makes the qdisc, and leaves it to the others.
			first, second := s.collector(m, "first"), s.collector(m, "first")
			see(first, second)
			first.stop()
			see(second)
			third := s.collector(m, "last")
			see(second, third)
			second.kill()
			see(third)
			third.stop()
			n := s.neighbour()
			others, filters, _ := n.tcOf()
			assert.Equal(t, onTC{}, others)
			assert.Empty(t, filters)
			n.eventuallyWithoutTCX()
		})
	}
}

// Many come and go at once: no one removes a qdisc that another one has just found.
func TestTCInstancesComeAndGoTogether(t *testing.T) {
	enterNetNS(t)
	newPeer(t).veth(t, tcStreetDevice)
	n := newNeighbour(t, tcStreetDevice, 0)
	const instances, rounds = 4, 50
	namespace, err := netns.OpenThread()
	require.NoError(t, err)
	defer namespace.Close()
	errs := make(chan error, instances)
	for range instances {
		go func() {
			errs <- namespace.Run(func() error {
				handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
				if err != nil {
					return err
				}
				defer handle.Close()
				a := newTestAttacher(&Config{Packets: Packets{TCMode: TCClsact}}, handle)
				defer a.close()
				for range rounds {
					hook, err := a.attach(n.device.Attrs().Index, tcIngress, n.program[tcIngress])
					if err != nil {
						return err
					}
					a.lock.release()
					if there, err := hook.(*tcFilter).present(); err != nil || !there {
						return errors.Join(err, errors.New("the filter is gone"))
					}
					if err := hook.detach(); err != nil {
						return err
					}
					a.lock.release()
				}
				return nil
			})
		}()
	}
	for range instances {
		assert.NoError(t, <-errs)
	}
	others, filters, _ := n.tcOf()
	assert.Equal(t, onTC{}, others)
	assert.Empty(t, filters)
}

// Some agents remove the qdisc that they made with all that is in it by then.
func TestTCComesBackAfterTheirQdiscWent(t *testing.T) {
	s := newTCStreet(t)
	n := s.neighbour()
	n.attachIngress()
	b := openTCBench(t, tcConfig(mode(TCClsact), included(tcStreetDevice)))
	require.NoError(t, b.start())
	require.ErrorIs(t, b.hooks()[tcEgress].Err, errNoEgress)
	ours := &tcStreetBench{tcBench: b}
	s.see(tcIngress, map[tcSeer]bool{ours: true, n: true})
	assert.Empty(t, b.attachedTo(), "ingress only")

	for range 2 {
		n.leave()
		n.eventually(func(_ onTC, filters []tcFilterName, _ int) bool { return len(filters) == 2 })
		b.eventuallyAttachedTo(tcStreetDevice)
		for _, d := range tcBothDirections {
			s.see(d, map[tcSeer]bool{ours: true, n: false})
			assert.NoError(t, b.hooks()[d].Err)
		}
		n.attachClsact(1, unix.ETH_P_ALL)
	}
	n.leave()
	n.eventually(func(_ onTC, filters []tcFilterName, _ int) bool { return len(filters) == 2 })
	require.NoError(t, b.detach())
	others, filters, _ := n.tcOf()
	assert.Equal(t, onTC{}, others, "the new qdisc is ours")
	assert.Empty(t, filters)
}
