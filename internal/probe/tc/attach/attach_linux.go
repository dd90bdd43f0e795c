// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package attach

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Hook is a program that is attached to an interface. Detaching from an interface that is
// gone is no error.
type Hook interface {
	Detach() error
	// Present is false if another process has removed it.
	Present() (bool, error)
}

// Spot is where a program attaches: an interface, a direction, and the order there.
type Spot struct {
	Index     int
	Direction Direction
	// Program is the name of the program to attach.
	Program string
	// First puts it before the programs of others.
	First bool
	// Before and After are our other hooks there, in the order in which they run.
	Before, After []Hook
}

// Options are what an Attacher asks of its user.
type Options struct {
	// Warn logs.
	Warn func(message string, fields ...zap.Field)
	// Late ends the waiting for other instances.
	Late func() bool
	// LeaveDead keeps the filters of dead instances.
	LeaveDead bool
}

// Attacher attaches programs in one network namespace, that of the calling thread. Its calls
// do not overlap. A change ends with Release.
type Attacher struct {
	netlink *netlink.Handle
	lock    lock
	// instance exists from the first filter on.
	instance  *instance
	leaveDead bool
	// removed counts the filters of dead instances. living are the other instances whose
	// filters were found.
	removed int
	living  map[uint32]bool
}

// New makes an Attacher. It uses the handle until Close.
func New(handle *netlink.Handle, options Options) *Attacher {
	return &Attacher{
		netlink:   handle,
		lock:      lock{warn: options.Warn, late: options.Late},
		leaveDead: options.LeaveDead,
		living:    make(map[uint32]bool),
	}
}

// Release ends a change: other instances get their turn.
func (a *Attacher) Release() { a.lock.release() }

// Close follows the removal of all filters. Another instance removes filters whose
// instance is gone.
func (a *Attacher) Close() {
	a.lock.release()
	if a.instance != nil {
		a.instance.close()
		a.instance = nil
	}
}

// OnTCX tells hooks on TCX from filters.
func OnTCX(h Hook) bool {
	_, on := h.(*tcxHook)
	return on
}

type tcxHook struct {
	link    link.Link
	program ebpf.ProgramID
}

// TCX attaches by a link, which ends with this process.
func (a *Attacher) TCX(at *Spot, program *ebpf.Program) (Hook, error) {
	options := link.TCXOptions{Interface: at.Index, Program: program, Attach: attachType(at.Direction), Anchor: at.anchor()}
	l, err := link.AttachTCX(options)
	if errors.Is(err, unix.ENOENT) {
		// Another process detached the anchor. It will be put back in its order.
		options.Anchor = at.end()
		l, err = link.AttachTCX(options)
	}
	if err != nil {
		return nil, err
	}
	info, err := l.Info()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &tcxHook{link: l, program: info.Program}, nil
}

// anchor keeps the order among our links. The outermost link is at the end that the
// configuration wants; the others are beside one of ours.
func (at *Spot) anchor() link.Anchor {
	if at.First {
		for i := len(at.Before) - 1; i >= 0; i-- {
			if h, ok := at.Before[i].(*tcxHook); ok {
				return link.AfterLink(h.link)
			}
		}
		return at.end()
	}
	for _, h := range at.After {
		if h, ok := h.(*tcxHook); ok {
			return link.BeforeLink(h.link)
		}
	}
	return at.end()
}

func (at *Spot) end() link.Anchor {
	if at.First {
		return link.Head()
	}
	return link.Tail()
}

func attachType(d Direction) ebpf.AttachType {
	if d == Egress {
		return ebpf.AttachTCXEgress
	}
	return ebpf.AttachTCXIngress
}

// Detach closes the link.
func (h *tcxHook) Detach() error { return h.link.Close() }

// Present reads the link. Others can detach it, so that it has no interface, or give it
// another program. The kernel sends no message about either.
func (h *tcxHook) Present() (bool, error) {
	info, err := h.link.Info()
	if err != nil {
		return false, err
	}
	tcx := info.TCX()
	return tcx != nil && tcx.Ifindex != 0 && info.Program == h.program, nil
}
