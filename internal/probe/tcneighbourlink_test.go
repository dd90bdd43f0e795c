// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// linkOf finds our link as another program finds it: by its id. It is nil while there is
// none.
func (b *tcBench) linkOf(index int, d tcDirection) (link.Link, link.ID) {
	b.t.Helper()
	info, err := b.objects.Programs[tcProgram(d, headersEthernet)].Info()
	require.NoError(b.t, err)
	ours, _ := info.ID()
	all, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: tcxAttach(d)})
	require.NoError(b.t, err)
	for _, program := range all.Programs {
		if id, ok := program.LinkID(); ok && program.ID == ours {
			found, err := link.NewFromID(id)
			require.NoError(b.t, err)
			return found, id
		}
	}
	return nil, 0
}

// Who may load programs may detach any link, as "bpftool link detach" does, or give it
// another program. No message tells of it.
func TestTCComesBackAfterItsLinkWasDetached(t *testing.T) {
	needingMode(t, TCX)
	s := newTCStreet(t)
	n := s.neighbour()
	index := n.device.Attrs().Index
	b, logs := startObservedTCBench(t, tcConfig(mode(TCX), included(tcStreetDevice)), zapcore.InfoLevel)
	ours := &tcStreetBench{tcBench: b}
	for what, spoil := range map[string]func(link.Link, *ebpf.Program) error{
		"detached": func(l link.Link, _ *ebpf.Program) error { return l.Detach() },
		"replaced": link.Link.Update,
	} {
		for _, d := range tcBothDirections {
			t.Run(what+" "+d.String(), func(t *testing.T) {
				s.on(t)
				b.t = t
				theirs, was := b.linkOf(index, d)
				require.NotNil(t, theirs)
				require.NoError(t, spoil(theirs, n.program[d]))
				require.NoError(t, theirs.Close())
				within(t, soon, func() bool {
					found, id := b.linkOf(index, d)
					if found != nil {
						require.NoError(t, found.Close())
					}
					return found != nil && id != was
				}, "another link")
				b.eventuallyAttachedTo(tcStreetDevice)
				for _, direction := range tcBothDirections {
					s.see(direction, map[tcSeer]bool{ours: true, n: false})
				}
				for _, hook := range b.hooks() {
					assert.True(t, hook.Attached, hook.Name)
					assert.NoError(t, hook.Err, hook.Name)
				}
			})
		}
	}
	said := logs.All()
	require.Len(t, said, 1, "once a minute at most: %v", said)
	assert.Equal(t, "somebody removed our programs from an interface; attaching them again", said[0].Message)
	assert.Equal(t, tcStreetDevice, said[0].ContextMap()["interface"])
}

// What could not be put back is tried again, though nothing changes: here because others
// take all the places, of which there are 64.
func TestTCTriesAgainWhatCouldNotBePutBack(t *testing.T) {
	needingMode(t, TCX)
	s := newTCStreet(t)
	n := s.neighbour()
	index := n.device.Attrs().Index
	b, logs := startObservedTCBench(t, tcConfig(mode(TCX), included(tcStreetDevice)), zapcore.InfoLevel)
	b.changing.Lock()
	theirs, _ := b.linkOf(index, tcEgress)
	require.NotNil(t, theirs)
	require.NoError(t, theirs.Detach())
	require.NoError(t, theirs.Close())
	var others []link.Link
	for {
		// A program has one place at most.
		l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: emptyTC(t), Attach: ebpf.AttachTCXEgress})
		if errors.Is(err, unix.ERANGE) {
			break
		}
		require.NoError(t, err)
		others = append(others, l)
	}
	require.NotEmpty(t, others)
	b.changing.Unlock()

	within(t, soon, func() bool { return b.hooks()[tcEgress].Err != nil }, "the hook says what is wrong")
	assert.False(t, b.hooks()[tcEgress].Attached)
	assert.Equal(t, 1, logs.FilterLevelExact(zapcore.WarnLevel).Len(), "%v", logs.All())
	for _, l := range others {
		require.NoError(t, l.Close())
	}
	within(t, tcRetry+soon, func() bool { return b.hooks()[tcEgress].Attached }, "attached again")
	assert.NoError(t, b.hooks()[tcEgress].Err)
}

func emptyTC(t *testing.T) *ebpf.Program {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, program.Close()) })
	return program
}
