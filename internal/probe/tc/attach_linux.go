// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package tc

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hook is a program that is attached to an interface. Detaching from an interface that is
// gone is no error.
type hook interface {
	detach() error
	// present is false if another process has removed it.
	present() (bool, error)
}

// spot is where a program attaches: an interface, a direction, and the order there.
type spot struct {
	index     int
	direction Direction
	// program is the name of the program to attach.
	program string
	// first puts it before the programs of others.
	first bool
	// before and after are our other hooks there, in the order in which they run.
	before, after []hook
}

// attacher attaches programs in one network namespace, that of the calling thread.
type attacher struct {
	netlink *netlink.Handle
	lock    lock
	// instance exists from the first filter on.
	instance *instance
	// leaveDead keeps the filters of dead instances.
	leaveDead bool
	// removed counts the filters of dead instances. living are the other instances whose
	// filters were found.
	removed int
	living  map[uint32]bool
}

func newAttacher(handle *netlink.Handle, l lock) *attacher {
	return &attacher{netlink: handle, lock: l, living: make(map[uint32]bool)}
}

// close follows the removal of all filters. Another instance removes filters whose
// instance is gone.
func (a *attacher) close() {
	a.lock.release()
	if a.instance != nil {
		a.instance.close()
		a.instance = nil
	}
}

type tcxHook struct {
	link    link.Link
	program ebpf.ProgramID
}

func (a *attacher) attachTCX(at *spot, program *ebpf.Program) (hook, error) {
	options := link.TCXOptions{Interface: at.index, Program: program, Attach: attachType(at.direction), Anchor: at.anchor()}
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
func (at *spot) anchor() link.Anchor {
	if at.first {
		for i := len(at.before) - 1; i >= 0; i-- {
			if h, ok := at.before[i].(*tcxHook); ok {
				return link.AfterLink(h.link)
			}
		}
		return at.end()
	}
	for _, h := range at.after {
		if h, ok := h.(*tcxHook); ok {
			return link.BeforeLink(h.link)
		}
	}
	return at.end()
}

func (at *spot) end() link.Anchor {
	if at.first {
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

func (h *tcxHook) detach() error { return h.link.Close() }

// present reads the link. Others can detach it, so that it has no interface, or give it
// another program. The kernel sends no message about either.
func (h *tcxHook) present() (bool, error) {
	info, err := h.link.Info()
	if err != nil {
		return false, err
	}
	tcx := info.TCX()
	return tcx != nil && tcx.Ifindex != 0 && info.Program == h.program, nil
}
