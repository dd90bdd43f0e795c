// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package tc

import (
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What a counter answers: others go on, or they don't.
const (
	verdictNext = -1 // TCX_NEXT, TC_ACT_UNSPEC
	verdictPass = 0  // TCX_PASS, TC_ACT_OK
)

// counter is a program for an interface, in one direction or two. It counts frames of one
// length. It is ours in a Manager, or somebody else's.
type counter struct {
	t       *testing.T
	device  netlink.Link
	length  int
	state   [Directions]*ebpf.Map
	program [Directions]*ebpf.Program
	link    [Directions]link.Link
}

// Keys of a counter's state.
const (
	counterCount uint32 = iota
	counterVerdict
)

func newCounter(t *testing.T, device string, length int) *counter {
	t.Helper()
	n := &counter{t: t, length: length}
	var err error
	n.device, err = netlink.LinkByName(device)
	require.NoError(t, err)
	for d := range Directions {
		n.state[d], n.program[d], err = loadCounter(length)
		require.NoError(t, err)
	}
	n.decide(verdictNext)
	t.Cleanup(func() {
		for d := range Directions {
			if n.link[d] != nil {
				assert.NoError(t, n.link[d].Close())
			}
			assert.NoError(t, n.program[d].Close())
			assert.NoError(t, n.state[d].Close())
		}
	})
	return n
}

func loadCounter(length int) (state *ebpf.Map, program *ebpf.Program, err error) {
	state, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 2})
	if err != nil {
		return nil, nil, err
	}
	program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL", Instructions: counterCode(state, length),
	})
	return state, program, err
}

func emptyProgram() *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdictNext), asm.Return()},
	}
}

// refusedProgram returns what is in no register: the verifier takes no such program.
func refusedProgram() *ebpf.ProgramSpec {
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
	code = append(code, entry(counterCount)...)
	code = append(code,
		asm.JEq.Imm(asm.R0, 0, "next"),
		asm.JNE.Imm(asm.R6, int32(length), "next"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
	)
	code = append(code, entry(counterVerdict)...)
	return append(code,
		asm.JEq.Imm(asm.R0, 0, "next"),
		asm.LoadMem(asm.R0, asm.R0, 0, asm.DWord),
		asm.Return(),
		asm.Mov.Imm(asm.R0, verdictNext).WithSymbol("next"),
		asm.Return(),
	)
}

func (n *counter) decide(verdict int64) {
	n.t.Helper()
	for _, state := range n.state {
		require.NoError(n.t, state.Put(counterVerdict, verdict))
	}
}

func (n *counter) seen(d Direction) (count uint64) {
	n.t.Helper()
	require.NoError(n.t, n.state[d].Lookup(counterCount, &count))
	return count
}

// attachTCX is last by default, as the kernel's is.
func (n *counter) attachTCX(anchor link.Anchor) {
	n.t.Helper()
	for d := range Directions {
		var err error
		n.link[d], err = link.AttachTCX(link.TCXOptions{
			Interface: n.device.Attrs().Index, Program: n.program[d], Attach: attachType(d), Anchor: anchor,
		})
		require.NoError(n.t, err)
	}
}

// attachClsact takes the qdisc that is there, or makes one. Of priority 0 the kernel
// chooses one.
func (n *counter) attachClsact(priority, protocol uint16) {
	n.t.Helper()
	if err := netlink.QdiscAdd(clsact(n.device.Attrs().Index)); err != nil {
		require.ErrorIs(n.t, err, unix.EEXIST)
	}
	for d := range Directions {
		n.addFilter(d, priority, protocol)
	}
}

// takeAll removes everything from the interface, whoever put it there.
func (n *counter) takeAll() {
	n.t.Helper()
	for d, l := range n.link {
		if l != nil {
			require.NoError(n.t, l.Close())
			n.link[d] = nil
		}
	}
	qdiscs, err := netlink.QdiscList(n.device)
	require.NoError(n.t, err)
	for _, qdisc := range qdiscs {
		if qdisc.Attrs().Parent == netlink.HANDLE_CLSACT {
			require.NoError(n.t, netlink.QdiscDel(qdisc))
		}
	}
}

// attachIngress has a qdisc without a place for egress.
func (n *counter) attachIngress() {
	n.t.Helper()
	require.NoError(n.t, netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: n.device.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
	}}))
	n.addFilter(Ingress, 1, unix.ETH_P_ALL)
}

func (n *counter) addFilter(d Direction, priority, protocol uint16) {
	n.t.Helper()
	require.NoError(n.t, netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: n.device.Attrs().Index, Parent: parentOf(d), Handle: 1, Priority: priority, Protocol: protocol,
		},
		Fd: n.program[d].FD(), Name: "neighbour", DirectAction: true,
	}))
}

// onTC is what the kernel lists on an interface: qdiscs, filters, TCX programs.
type onTC struct {
	Qdiscs  []netlink.QdiscAttrs
	Filters []onTCFilter
	TCX     []onTCProgram
}

type onTCFilter struct {
	Direction Direction
	Attrs     netlink.FilterAttrs
	Name      string
	Program   int
}

type onTCProgram struct {
	Direction Direction
	Program   ebpf.ProgramID
	Link      link.ID
}

// tcOf lists what others have on the interface, and the filters and the number of TCX
// programs that are ours.
func (n *counter) tcOf() (others onTC, filters []filterName, tcx int) {
	n.t.Helper()
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	require.NoError(n.t, err)
	defer handle.Close()
	all, err := qdiscs(handle, n.device)
	require.NoError(n.t, err)
	for _, qdisc := range all {
		others.Qdiscs = append(others.Qdiscs, netlink.QdiscAttrs{LinkIndex: qdisc.index})
		for d := range Directions {
			list, err := qdisc.filters(d)
			require.NoError(n.t, err)
			for _, filter := range list {
				if name, ours := ourFilter(filter); ours {
					filters = append(filters, name)
					continue
				}
				bpf := filter.(*netlink.BpfFilter)
				attrs := bpf.FilterAttrs
				attrs.Chain = nil // a pointer
				others.Filters = append(others.Filters, onTCFilter{d, attrs, bpf.Name, bpf.Id})
			}
		}
	}
	if tcxHere() != "" {
		return others, filters, 0
	}
	for d := range Directions {
		result, err := link.QueryPrograms(link.QueryOptions{Target: n.device.Attrs().Index, Attach: attachType(d)})
		require.NoError(n.t, err)
		theirs := programID(n.t, n.program[d])
		for _, program := range result.Programs {
			if program.ID != theirs {
				tcx++
				continue
			}
			id, _ := program.LinkID()
			others.TCX = append(others.TCX, onTCProgram{d, program.ID, id})
		}
	}
	return others, filters, tcx
}

func programID(t *testing.T, program *ebpf.Program) ebpf.ProgramID {
	t.Helper()
	info, err := program.Info()
	require.NoError(t, err)
	id, _ := info.ID()
	return id
}

// eventuallyWithoutTCX: the kernel takes a link off after its last descriptor is gone.
func (n *counter) eventuallyWithoutTCX() {
	n.t.Helper()
	n.eventually(func(_ onTC, _ []filterName, tcx int) bool { return tcx == 0 })
}

// eventually stays on the thread, which is in the network namespace.
func (n *counter) eventually(condition func(others onTC, filters []filterName, tcx int) bool) {
	n.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !condition(n.tcOf()); time.Sleep(time.Millisecond) {
		others, filters, tcx := n.tcOf()
		require.Truef(n.t, time.Now().Before(deadline), "others %+v, our filters %v, our TCX programs %d", others, filters, tcx)
	}
}
