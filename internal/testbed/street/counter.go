// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package street

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/attach"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/dump"
)

// What a counter answers: others go on, or they don't.
const (
	VerdictNext = -1 // TCX_NEXT, TC_ACT_UNSPEC
	VerdictPass = 0  // TCX_PASS, TC_ACT_OK
)

// Counter is a program for an interface, in one direction or two. It counts frames of one
// length. It is ours in a Manager, or somebody else's.
type Counter struct {
	T       testing.TB
	Device  netlink.Link
	length  int
	State   [attach.Directions]*ebpf.Map
	Program [attach.Directions]*ebpf.Program
	link    [attach.Directions]link.Link
}

// Keys of a counter's state.
const (
	KeyCount uint32 = iota
	KeyVerdict
)

func NewCounter(t testing.TB, device string, length int) *Counter {
	t.Helper()
	n := &Counter{T: t, length: length}
	var err error
	n.Device, err = netlink.LinkByName(device)
	require.NoError(t, err)
	for d := range attach.Directions {
		n.State[d], n.Program[d], err = LoadCounter(length)
		require.NoError(t, err)
	}
	n.Decide(VerdictNext)
	t.Cleanup(func() {
		for d := range attach.Directions {
			if n.link[d] != nil {
				assert.NoError(t, n.link[d].Close())
			}
			assert.NoError(t, n.Program[d].Close())
			assert.NoError(t, n.State[d].Close())
		}
	})
	return n
}

func LoadCounter(length int) (state *ebpf.Map, program *ebpf.Program, err error) {
	state, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 2})
	if err != nil {
		return nil, nil, err
	}
	program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL", Instructions: counterCode(state, length),
	})
	return state, program, err
}

func EmptyProgram() *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, VerdictNext), asm.Return()},
	}
}

// RefusedProgram returns what is in no register: the verifier takes no such program.
func RefusedProgram() *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Reg(asm.R0, asm.R5), asm.Return()},
	}
}

func counterCode(state *ebpf.Map, length int) asm.Instructions {
	entry := func(key uint32) asm.Instructions {
		return asm.Instructions{
			asm.StoreImm(asm.R10, -4, int64(key), asm.Word),
			asm.LoadMapPtr(asm.R1, state.FD()),
			asm.Mov.Reg(asm.R2, asm.R10),
			asm.Add.Imm(asm.R2, -4),
			asm.FnMapLookupElem.Call(),
		}
	}
	code := asm.Instructions{asm.LoadMem(asm.R6, asm.R1, 0, asm.Word)} // __sk_buff.len
	code = append(code, entry(KeyCount)...)
	code = append(code,
		asm.JEq.Imm(asm.R0, 0, "next"),
		asm.JNE.Imm(asm.R6, int32(length), "next"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
	)
	code = append(code, entry(KeyVerdict)...)
	return append(code,
		asm.JEq.Imm(asm.R0, 0, "next"),
		asm.LoadMem(asm.R0, asm.R0, 0, asm.DWord),
		asm.Return(),
		asm.Mov.Imm(asm.R0, VerdictNext).WithSymbol("next"),
		asm.Return(),
	)
}

func (n *Counter) Decide(verdict int64) {
	n.T.Helper()
	for _, state := range n.State {
		require.NoError(n.T, state.Put(KeyVerdict, verdict))
	}
}

func (n *Counter) Seen(d attach.Direction) (count uint64) {
	n.T.Helper()
	require.NoError(n.T, n.State[d].Lookup(KeyCount, &count))
	return count
}

// AttachTCX is last by default, as the kernel's is.
func (n *Counter) AttachTCX(anchor link.Anchor) {
	n.T.Helper()
	for d := range attach.Directions {
		var err error
		n.link[d], err = link.AttachTCX(link.TCXOptions{
			Interface: n.Device.Attrs().Index, Program: n.Program[d], Attach: TCXType(d), Anchor: anchor,
		})
		require.NoError(n.T, err)
	}
}

// AttachClsact takes the qdisc that is there, or makes one. Of priority 0 the kernel
// chooses one.
func (n *Counter) AttachClsact(priority, protocol uint16) {
	n.T.Helper()
	if err := netlink.QdiscAdd(Clsact(n.Device.Attrs().Index)); err != nil {
		require.ErrorIs(n.T, err, unix.EEXIST)
	}
	for d := range attach.Directions {
		n.addFilter(d, priority, protocol)
	}
}

// TakeAll removes everything from the interface, whoever put it there.
func (n *Counter) TakeAll() {
	n.T.Helper()
	for d, l := range n.link {
		if l != nil {
			require.NoError(n.T, l.Close())
			n.link[d] = nil
		}
	}
	qdiscs, err := netlink.QdiscList(n.Device)
	require.NoError(n.T, err)
	for _, qdisc := range qdiscs {
		if qdisc.Attrs().Parent == netlink.HANDLE_CLSACT {
			require.NoError(n.T, netlink.QdiscDel(qdisc))
		}
	}
}

// AttachIngress makes a qdisc without a place for egress.
func (n *Counter) AttachIngress() {
	n.T.Helper()
	require.NoError(n.T, netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: n.Device.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
	}}))
	n.addFilter(attach.Ingress, 1, unix.ETH_P_ALL)
}

func (n *Counter) addFilter(d attach.Direction, priority, protocol uint16) {
	n.T.Helper()
	require.NoError(n.T, netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: n.Device.Attrs().Index, Parent: Parent(d), Handle: 1, Priority: priority, Protocol: protocol,
		},
		Fd: n.Program[d].FD(), Name: "neighbour", DirectAction: true,
	}))
}

// Filter is one of ours.
type Filter struct {
	// Instance is the name of its socket.
	Instance, Program string
	Direction         attach.Direction
	BPF               *netlink.BpfFilter
}

func newFilter(d attach.Direction, bpf *netlink.BpfFilter) Filter {
	parts := strings.Split(bpf.Name, "-")
	return Filter{Instance: parts[0] + "-" + parts[1], Program: parts[2], Direction: d, BPF: bpf}
}

// Parent is where filters of a direction are.
func Parent(d attach.Direction) uint32 {
	if d == attach.Egress {
		return netlink.HANDLE_MIN_EGRESS
	}
	return netlink.HANDLE_MIN_INGRESS
}

// TCXType is the kernel's number of a direction.
func TCXType(d attach.Direction) ebpf.AttachType {
	if d == attach.Egress {
		return ebpf.AttachTCXEgress
	}
	return ebpf.AttachTCXIngress
}

// Clsact is the qdisc that an agent makes for its filters.
func Clsact(index int) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

// OnTC is what the kernel lists on an interface: qdiscs, filters, TCX programs.
type OnTC struct {
	Qdiscs  []netlink.QdiscAttrs
	Filters []OnTCFilter
	TCX     []OnTCProgram
}

type OnTCFilter struct {
	Direction attach.Direction
	Attrs     netlink.FilterAttrs
	Name      string
	Program   int
}

type OnTCProgram struct {
	Direction attach.Direction
	Program   ebpf.ProgramID
	Link      link.ID
}

// Of lists what others have on the interface, and the filters and the number of TCX
// programs that are ours.
func (n *Counter) Of() (others OnTC, filters []Filter, tcx int) {
	n.T.Helper()
	qdiscs, err := dump.Settled(func() ([]netlink.Qdisc, error) { return netlink.QdiscList(n.Device) })
	require.NoError(n.T, err)
	for _, qdisc := range qdiscs {
		if qdisc.Attrs().Parent != netlink.HANDLE_CLSACT {
			continue
		}
		others.Qdiscs = append(others.Qdiscs, netlink.QdiscAttrs{LinkIndex: qdisc.Attrs().LinkIndex})
		for d := range attach.Directions {
			if qdisc.Type() == "ingress" && d == attach.Egress {
				continue // the kernel would list those of ingress
			}
			list, err := dump.Settled(func() ([]netlink.Filter, error) { return netlink.FilterList(n.Device, Parent(d)) })
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
				continue // the qdisc went
			}
			require.NoError(n.T, err)
			for _, filter := range list {
				bpf := filter.(*netlink.BpfFilter)
				if strings.HasPrefix(bpf.Name, "ebpf_tcp-") {
					filters = append(filters, newFilter(d, bpf))
					continue
				}
				attrs := bpf.FilterAttrs
				attrs.Chain = nil // a pointer
				others.Filters = append(others.Filters, OnTCFilter{d, attrs, bpf.Name, bpf.Id})
			}
		}
	}
	if TCXHere() != "" {
		return others, filters, 0
	}
	for d := range attach.Directions {
		result, err := link.QueryPrograms(link.QueryOptions{Target: n.Device.Attrs().Index, Attach: TCXType(d)})
		require.NoError(n.T, err)
		theirs := ProgramID(n.T, n.Program[d])
		for _, program := range result.Programs {
			if program.ID != theirs {
				tcx++
				continue
			}
			id, _ := program.LinkID()
			others.TCX = append(others.TCX, OnTCProgram{d, program.ID, id})
		}
	}
	return others, filters, tcx
}

func ProgramID(t testing.TB, program *ebpf.Program) ebpf.ProgramID {
	t.Helper()
	info, err := program.Info()
	require.NoError(t, err)
	id, _ := info.ID()
	return id
}

// EventuallyWithoutTCX waits: the kernel takes a link off after its last descriptor is gone.
func (n *Counter) EventuallyWithoutTCX() {
	n.T.Helper()
	n.Eventually(func(_ OnTC, _ []Filter, tcx int) bool { return tcx == 0 })
}

// Eventually stays on the thread, which is in the network namespace.
func (n *Counter) Eventually(condition func(others OnTC, filters []Filter, tcx int) bool) {
	n.T.Helper()
	for deadline := time.Now().Add(5 * time.Second); !condition(n.Of()); time.Sleep(time.Millisecond) {
		others, filters, tcx := n.Of()
		require.Truef(n.T, time.Now().Before(deadline), "others %+v, our filters %v, our TCX programs %d", others, filters, tcx)
	}
}
