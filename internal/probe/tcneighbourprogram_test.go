// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What a neighbour's program answers: others go on, or they don't.
const (
	verdictNext = -1 // TCX_NEXT, TC_ACT_UNSPEC
	verdictPass = 0  // TCX_PASS, TC_ACT_OK
)

// neighbour is somebody else's program on an interface, in one direction or two. It
// counts frames of one length.
type neighbour struct {
	t       *testing.T
	device  netlink.Link
	length  int
	state   [tcDirections]*ebpf.Map
	program [tcDirections]*ebpf.Program
	link    [tcDirections]link.Link
}

// Keys of the neighbour's state.
const (
	neighbourCount uint32 = iota
	neighbourVerdict
)

func newNeighbour(t *testing.T, device string, length int) *neighbour {
	t.Helper()
	n := &neighbour{t: t, length: length}
	var err error
	n.device, err = netlink.LinkByName(device)
	require.NoError(t, err)
	for d := range tcDirections {
		n.state[d], err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 2})
		require.NoError(t, err)
		n.program[d], err = ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.SchedCLS, License: "GPL", Instructions: neighbourCode(n.state[d], length),
		})
		require.NoError(t, err)
	}
	n.decide(verdictNext)
	t.Cleanup(func() {
		for d := range tcDirections {
			if n.link[d] != nil {
				assert.NoError(t, n.link[d].Close())
			}
			assert.NoError(t, n.program[d].Close())
			assert.NoError(t, n.state[d].Close())
		}
	})
	return n
}

func neighbourCode(state *ebpf.Map, length int) asm.Instructions {
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
	code = append(code, entry(neighbourCount)...)
	code = append(code,
		asm.JEq.Imm(asm.R0, 0, "next"),
		asm.JNE.Imm(asm.R6, int32(length), "next"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
	)
	code = append(code, entry(neighbourVerdict)...)
	return append(code,
		asm.JEq.Imm(asm.R0, 0, "next"),
		asm.LoadMem(asm.R0, asm.R0, 0, asm.DWord),
		asm.Return(),
		asm.Mov.Imm(asm.R0, verdictNext).WithSymbol("next"),
		asm.Return(),
	)
}

func (n *neighbour) decide(verdict int64) {
	n.t.Helper()
	for _, state := range n.state {
		require.NoError(n.t, state.Put(neighbourVerdict, verdict))
	}
}

func (n *neighbour) seen(d tcDirection) (count uint64) {
	n.t.Helper()
	require.NoError(n.t, n.state[d].Lookup(neighbourCount, &count))
	return count
}

// attachTCX is last by default, as the kernel's is.
func (n *neighbour) attachTCX(anchor link.Anchor) {
	n.t.Helper()
	for d, attach := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		var err error
		n.link[d], err = link.AttachTCX(link.TCXOptions{
			Interface: n.device.Attrs().Index, Program: n.program[d], Attach: attach, Anchor: anchor,
		})
		require.NoError(n.t, err)
	}
}

// attachClsact takes the qdisc that is there, or makes one. Of priority 0 the kernel
// chooses one.
func (n *neighbour) attachClsact(priority, protocol uint16) {
	n.t.Helper()
	if err := netlink.QdiscAdd(clsact(n.device.Attrs().Index)); err != nil {
		require.ErrorIs(n.t, err, unix.EEXIST)
	}
	for d := range tcDirections {
		n.addFilter(d, priority, protocol)
	}
}

// leave takes everything along that is on the interface.
func (n *neighbour) leave() {
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
func (n *neighbour) attachIngress() {
	n.t.Helper()
	require.NoError(n.t, netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: n.device.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
	}}))
	n.addFilter(tcIngress, 1, unix.ETH_P_ALL)
}

func (n *neighbour) addFilter(d tcDirection, priority, protocol uint16) {
	n.t.Helper()
	require.NoError(n.t, netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: n.device.Attrs().Index, Parent: tcParent(d), Handle: 1, Priority: priority, Protocol: protocol,
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
	Direction tcDirection
	Attrs     netlink.FilterAttrs
	Name      string
	Program   int
}

type onTCProgram struct {
	Direction tcDirection
	Program   ebpf.ProgramID
	Link      link.ID
}

// tcOf lists what others have on the interface, and the filters and the number of
// TCX programs of ours.
func (n *neighbour) tcOf() (others onTC, filters []tcFilterName, tcx int) {
	n.t.Helper()
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	require.NoError(n.t, err)
	defer handle.Close()
	qdiscs, err := tcQdiscs(handle, n.device)
	require.NoError(n.t, err)
	for _, qdisc := range qdiscs {
		others.Qdiscs = append(others.Qdiscs, netlink.QdiscAttrs{LinkIndex: qdisc.index})
		for d := range tcDirections {
			list, err := qdisc.filters(d)
			require.NoError(n.t, err)
			for _, filter := range list {
				if name, ours := ourTCFilter(filter); ours {
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
	if !tcxSupported() {
		return others, filters, 0
	}
	for d, attach := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		result, err := link.QueryPrograms(link.QueryOptions{Target: n.device.Attrs().Index, Attach: attach})
		require.NoError(n.t, err)
		info, err := n.program[d].Info()
		require.NoError(n.t, err)
		theirs, _ := info.ID()
		for _, program := range result.Programs {
			if program.ID != theirs {
				tcx++
				continue
			}
			id, _ := program.LinkID()
			others.TCX = append(others.TCX, onTCProgram{tcDirection(d), program.ID, id})
		}
	}
	return others, filters, tcx
}
