// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package tc

import (
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

func TestFilterNames(t *testing.T) {
	for name, want := range map[string]filterName{
		"ebpf_tcp-0000000f-observe-ingress":        {instance: 15, program: "observe", direction: Ingress},
		"ebpf_tcp-89abcdef-guard-egress":           {instance: 0x89abcdef, program: "guard", direction: Egress},
		"ebpf_tcp-89abcdef-observe2-ingress+qdisc": {instance: 0x89abcdef, program: "observe2", direction: Ingress, ourQdisc: true},
	} {
		got, ok := parseFilterName(name)
		assert.True(t, ok, name)
		assert.Equal(t, want, got)
		assert.Equal(t, name, got.String())
	}
	for _, name := range []string{
		"", "cil_from_netdev", "ebpf_tcp-", "ebpf_tcp-f-observe-ingress", "ebpf_tcp-0000000F-observe-ingress",
		"0000000f-observe-ingress", "ebpf_tcp-0000000f-observe", "ebpf_tcp-0000000f-observe-sideways",
		"ebpf_tcp-0000000f-observe-ingress+", "ebpf_tcp-0000000f--ingress", "ebpf_tcp-0000000f-ingress",
		"ebpf_tcp-0000000f-observe-ingress+qdisc+qdisc", "ebpf_tcp-10000000f-observe-ingress",
		"ebpf_tcp-0000000f-observe-ingress ", "ebpf_tcp-0000000f-a-b-ingress",
	} {
		_, ok := parseFilterName(name)
		assert.False(t, ok, name)
	}
}

func TestInstanceLives(t *testing.T) {
	wire.Enter(t)
	i, err := newInstance()
	require.NoError(t, err)
	_, dead := claimDead(i.id)
	assert.False(t, dead)

	assert.True(t, i.here())

	wire.NewPeer(t).In(func() {
		assert.False(t, i.here())
		release, dead := claimDead(i.id)
		assert.True(t, dead, "its name is not known in another network namespace")
		release()
	})
	// What it starts is not it.
	child := exec.Command("/proc/self/exe")
	child.Env = []string{processEnv + "=1 auto first lo"}
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

// A change waits once for who holds the lock, and for a while no other one waits.
func TestLockIsNotForEver(t *testing.T) {
	wire.Enter(t)
	late := false
	core, logs := observer.New(zap.WarnLevel)
	l := lock{warn: zap.New(core).Warn, late: func() bool { return late }}
	takes := func() time.Duration {
		begin := time.Now()
		l.take()
		l.take()
		l.release()
		return time.Since(begin)
	}
	l.take()
	_, err := bindAbstract(lockName)
	require.ErrorIs(t, err, unix.EADDRINUSE)
	l.release()
	squatter, err := bindAbstract(lockName)
	require.NoError(t, err)
	defer squatter.close()

	took := takes()
	assert.GreaterOrEqual(t, took, LockWait)
	assert.Less(t, took, 2*LockWait)
	assert.Less(t, takes(), LockWait/2)
	assert.Equal(t, 1, logs.Len())

	l.waitAgain = time.Time{}
	late = true
	assert.Less(t, takes(), LockWait/2, "to stop is not to wait")
}

// asInstance attaches the programs as another instance of ours.
func (n *counter) asInstance() (detach func()) {
	n.t.Helper()
	return n.attachAlone(Clsact, "last", bothDirections())
}

// An interface takes no filter along to another network namespace, where the name of
// its instance would not be known.
func TestFiltersStayInTheirNamespace(t *testing.T) {
	s := newStreet(t)
	n := s.counter()
	detach := n.asInstance()
	_, filters, _ := n.tcOf()
	require.Len(t, filters, 2)
	require.NoError(t, netlink.LinkSetNsFd(n.device, s.other.File.FD()))
	s.other.In(func() {
		moved, err := netlink.LinkByName(streetDevice)
		require.NoError(t, err)
		n.device = moved
		others, filters, _ := n.tcOf()
		assert.Empty(t, filters)
		assert.Empty(t, others.Qdiscs)
	})
	detach()
}

// On a thread in another network namespace everybody seems to be dead.
func TestDetachesFromElsewhere(t *testing.T) {
	s := newStreet(t)
	n, other := s.counter(), s.counter()
	detach, detachOther := n.asInstance(), other.asInstance()
	s.other.In(detach)
	_, filters, _ := n.tcOf()
	assert.Len(t, filters, 2)
	for _, d := range bothDirections() {
		s.see(d, map[seer]bool{n: false, other: true})
	}
	detachOther()
	others, _, _ := n.tcOf()
	assert.Equal(t, onTC{}, others)
}

// What is left after a crash goes with the next start, wherever that one looks.
func TestRemovesWhatDeadInstancesLeft(t *testing.T) {
	s := newStreet(t)
	for _, name := range []string{"theirs", "elsewhere"} {
		require.NoError(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer-" + name}))
	}
	ours, theirs := s.counter(), newCounter(t, "theirs", 0)
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
	crashed := startProcess(t, Clsact, "first", streetDevice+",theirs")
	living := startProcess(t, Clsact, "first", streetDevice)
	crashed.kill()
	expect(4, 1, 2)
	c := startProcess(t, Auto, "first", "elsewhere")
	c.logs(`removed the filters of dead instances	{"filters": 4}`)
	expect(2, 1, 0)
	c.stop()
	living.kill()
	expect(2, 1, 0)

	c = startProcess(t, Auto, "first", "elsewhere")
	c.logs(`removed the filters of dead instances	{"filters": 2}`)
	expect(0, 0, 0)
	c.stop()
}

func TestTwoProcesses(t *testing.T) {
	for _, m := range []Mode{TCX, Clsact} {
		t.Run(string(m), func(t *testing.T) {
			needMode(t, m)
			s := newStreet(t)
			see := func(processes ...*process) {
				t.Helper()
				all := make(map[seer]bool)
				for _, c := range processes {
					all[c] = true
				}
				for _, d := range bothDirections() {
					s.see(d, all)
				}
			}
			// The first one makes the qdisc, and leaves it to the others.
			first, second := s.process(m, "first"), s.process(m, "first")
			see(first, second)
			first.stop()
			see(second)
			third := s.process(m, "last")
			see(second, third)
			second.kill()
			see(third)
			third.stop()
			n := s.counter()
			others, filters, _ := n.tcOf()
			assert.Equal(t, onTC{}, others)
			assert.Empty(t, filters)
			n.eventuallyWithoutTCX()
		})
	}
}

// Many come and go at once: no one removes a qdisc that another one has just found.
func TestInstancesComeAndGoTogether(t *testing.T) {
	wire.Enter(t)
	wire.NewPeer(t).Veth(t, streetDevice)
	n := newCounter(t, streetDevice, 0)
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
				a := newAttacher(handle, quietLock())
				defer a.close()
				for range rounds {
					hook, err := a.attachFilter(&spot{index: n.device.Attrs().Index, program: "test"}, n.program[Ingress])
					if err != nil {
						return err
					}
					a.lock.release()
					if there, err := hook.(*filter).present(); err != nil || !there {
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
