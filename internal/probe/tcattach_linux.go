// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// tcDirection is one of the two places on an interface.
type tcDirection int

const (
	tcIngress tcDirection = iota
	tcEgress
	tcDirections
)

func (d tcDirection) String() string {
	if d == tcEgress {
		return "egress"
	}
	return "ingress"
}

// tcHook is a program that is attached to an interface. Detaching from an
// interface that is gone is no error.
type tcHook interface {
	detach() error
	// present is false when somebody else has removed it.
	present() (bool, error)
}

// tcAttacher attaches programs in one network namespace, that of the thread that calls
// it.
type tcAttacher struct {
	mode    TCMode
	first   bool
	netlink *netlink.Handle
	// instance is there from the first filter on.
	instance *tcInstance
	// removed counts the filters of dead instances that were in the way.
	removed int
}

func newTCAttacher(cfg *Config, handle *netlink.Handle) *tcAttacher {
	return &tcAttacher{mode: cfg.TCMode, first: cfg.TCFirst, netlink: handle}
}

// removeDead removes what dead instances left on all interfaces, whatever the mode:
// they may have run under another one. It returns how many filters it removed since
// it was last called, those that attach removed included.
func (a *tcAttacher) removeDead() (removed int, err error) {
	removed, err = removeDeadTCFilters(a.netlink)
	removed += a.removed
	a.removed = 0
	return removed, err
}

// close comes after all filters are gone: who finds one without us would remove it.
func (a *tcAttacher) close() {
	if a.instance != nil {
		a.instance.close()
		a.instance = nil
	}
}

// hookName is the kernel's name of the hook, as far as it is decided.
func (a *tcAttacher) hookName(d tcDirection) string {
	if a.mode == TCAuto {
		return "tc/" + d.String()
	}
	return string(a.mode) + "/" + d.String()
}

// attach falls back to clsact, for good, when the kernel has no TCX.
func (a *tcAttacher) attach(index int, d tcDirection, prog *ebpf.Program) (tcHook, error) {
	if a.mode == TCClsact {
		return a.attachFilter(index, d, prog)
	}
	hook, err := a.attachTCX(index, d, prog)
	switch {
	case err == nil:
		a.mode = TCX
	case a.mode == TCAuto && errors.Is(err, ebpf.ErrNotSupported):
		a.mode = TCClsact
		return a.attachFilter(index, d, prog)
	}
	return hook, err
}

type tcxHook struct{ link link.Link }

func (a *tcAttacher) attachTCX(index int, d tcDirection, prog *ebpf.Program) (tcHook, error) {
	options := link.TCXOptions{Interface: index, Program: prog, Attach: ebpf.AttachTCXIngress, Anchor: link.Tail()}
	if d == tcEgress {
		options.Attach = ebpf.AttachTCXEgress
	}
	if a.first {
		options.Anchor = link.Head()
	}
	l, err := link.AttachTCX(options)
	if err != nil {
		return nil, err
	}
	return &tcxHook{l}, nil
}

func (h *tcxHook) detach() error { return h.link.Close() }

// A link is its owner's alone.
func (h *tcxHook) present() (bool, error) { return true, nil }
