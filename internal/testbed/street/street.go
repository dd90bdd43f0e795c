// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

// Package street gives tests of packet programs an interface with frames on it, and programs
// that count these.
package street

import (
	"errors"
	"path"
	"runtime"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/attach"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// loopbackIndex is that of lo in every namespace.
const loopbackIndex = 1

// Attacher makes one that logs nothing.
func Attacher(handle *netlink.Handle) *attach.Attacher {
	return attach.New(handle, attach.Options{Warn: zap.NewNop().Warn, Late: func() bool { return false }})
}

func BothDirections() []attach.Direction { return []attach.Direction{attach.Ingress, attach.Egress} }

// TCXHere is why this kernel does not attach to TCX; empty when it does.
var TCXHere = sync.OnceValue(func() (lacks string) {
	err := testbed.InNewNetNS(func() error {
		program, err := ebpf.NewProgram(EmptyProgram())
		if err != nil {
			return err
		}
		defer program.Close()
		if err := RefuseExcluded("tcx/ingress"); err != nil {
			return err
		}
		a := Attacher(nil)
		hook, err := a.TCX(&attach.Spot{Index: loopbackIndex}, program)
		if err != nil {
			return err
		}
		return hook.Detach()
	})
	if err != nil {
		return err.Error()
	}
	return ""
})

// here is this host, of which TCX is the only thing in question.
type here struct{}

func (here) Lacks(string) (string, error) { return TCXHere(), nil }

func NeedTCX(t testing.TB) {
	t.Helper()
	testbed.Need(t, here{}, "packet by tcx/*")
}

// RefuseExcluded refuses what the environment excludes.
func RefuseExcluded(hook string) error {
	for _, pattern := range testbed.ExcludedHooks() {
		if ok, _ := path.Match(pattern, hook); ok {
			return errors.New("excluded by the environment")
		}
	}
	return nil
}

// Street is an interface with frames that come in and go out there.
type Street struct {
	T     testing.TB
	netns *netns.Namespace
	Other *wire.Peer
	Frame []byte
}

const (
	Device = "street"
	// FrameLength is a length that no other frame has.
	FrameLength = 333
)

func New(t testing.TB) *Street {
	t.Helper()
	wire.Enter(t)
	namespace, err := netns.OpenThread()
	require.NoError(t, err)
	t.Cleanup(namespace.Close)
	s := &Street{T: t, netns: namespace, Other: wire.NewPeer(t), Frame: make([]byte, FrameLength)}
	s.Frame[12] = 0x08 // IPv4, of which nothing is right
	s.Other.Veth(t, Device)
	return s
}

// On takes a part of the test, which has a thread of its own, to the street.
func (s *Street) On(t testing.TB) *Street {
	t.Helper()
	runtime.LockOSThread() // and ends with the test
	require.NoError(t, s.netns.Enter())
	s.T = t
	return s
}

func (s *Street) Counter() *Counter { return NewCounter(s.T, Device, len(s.Frame)) }

func (s *Street) Send(d attach.Direction) {
	s.T.Helper()
	if d == attach.Ingress {
		s.Other.Send(s.T, "peer-"+Device, s.Frame)
		return
	}
	wire.Send(s.T, Device, nil, s.Frame)
}

// Seer counts frames.
type Seer interface{ Seen(attach.Direction) uint64 }

// See sends a frame and waits until those who should have seen it have, and no one else.
func (s *Street) See(d attach.Direction, sees map[Seer]bool) {
	s.T.Helper()
	before := make(map[Seer]uint64)
	for seer := range sees {
		before[seer] = seer.Seen(d)
	}
	s.Send(d)
	// A frame passes all programs before the next frame enters.
	for seer, does := range sees {
		if does {
			wire.Within(s.T, wire.Soon, func() bool { return seer.Seen(d) == before[seer]+1 }, "%T %s", seer, d)
		}
	}
	for seer, does := range sees {
		if !does {
			assert.Equalf(s.T, before[seer], seer.Seen(d), "%T %s", seer, d)
		}
	}
}

// Order sends one frame that is left to whoever comes next, and one that a neighbour decides
// about: then only those before it see it.
func (s *Street) Order(ours Seer, n *Counter, first bool, directions ...attach.Direction) {
	s.T.Helper()
	for _, d := range directions {
		s.See(d, map[Seer]bool{ours: true, n: true})
		n.Decide(VerdictPass)
		s.See(d, map[Seer]bool{ours: first, n: true})
		n.Decide(VerdictNext)
	}
}

// InOrder tells by frames that programs run in this order.
func (s *Street) InOrder(programs ...*Counter) {
	s.T.Helper()
	for _, d := range BothDirections() {
		for at, decides := range programs {
			decides.Decide(VerdictPass)
			sees := make(map[Seer]bool)
			for i, p := range programs {
				sees[p] = i <= at
			}
			s.See(d, sees)
			decides.Decide(VerdictNext)
		}
	}
}
