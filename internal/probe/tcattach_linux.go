// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
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

// tcHookName is the kernel's name of the hook, as far as the mode is decided.
func tcHookName(m TCMode, d tcDirection) string {
	if m != TCX && m != TCClsact {
		m = "tc"
	}
	return string(m) + "/" + d.String()
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
	// mode is decided with the first program that is attached.
	mode  TCMode
	first bool
	// excluded hooks are refused.
	excluded hook.Patterns
	netlink  *netlink.Handle
	lock     tcLock
	// instance is there from the first filter on.
	instance *tcInstance
	// leaveDead: the filters of dead instances stay.
	leaveDead bool
	// removed counts the filters of dead instances, living has the other instances
	// whose filters were found.
	removed int
	living  map[uint32]bool
}

// newTCAttacher does not wait for others after stopBy, which may be set later.
func newTCAttacher(cfg *Config, handle *netlink.Handle, stopBy *atomic.Pointer[time.Time], logger *zap.Logger) *tcAttacher {
	return &tcAttacher{
		mode:     cfg.TCMode,
		first:    cfg.TCFirst,
		excluded: cfg.ExcludeHooks,
		netlink:  handle,
		lock:     tcLock{logger: logger, stopBy: stopBy},
		living:   make(map[uint32]bool),
	}
}

// close comes after all filters are gone: who finds one without us would remove it.
func (a *tcAttacher) close() {
	a.lock.release()
	if a.instance != nil {
		a.instance.close()
		a.instance = nil
	}
}

// attach falls back to clsact, for good, when the kernel has no TCX or it is excluded.
func (a *tcAttacher) attach(index int, d tcDirection, prog *ebpf.Program) (tcHook, error) {
	if a.mode == TCClsact {
		return a.attachFilter(index, d, prog)
	}
	attached, err := a.attachTCX(index, d, prog)
	switch {
	case err == nil:
		a.mode = TCX
	case a.mode == TCAuto && (errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, hook.ErrExcluded)):
		a.mode = TCClsact
		return a.attachFilter(index, d, prog)
	}
	return attached, err
}

type tcxHook struct {
	link    link.Link
	program ebpf.ProgramID
}

func (a *tcAttacher) attachTCX(index int, d tcDirection, prog *ebpf.Program) (tcHook, error) {
	if err := a.excluded.Refuse(tcHookName(TCX, d)); err != nil {
		return nil, err
	}
	options := link.TCXOptions{Interface: index, Program: prog, Attach: tcxAttach(d), Anchor: link.Tail()}
	if a.first {
		options.Anchor = link.Head()
	}
	l, err := link.AttachTCX(options)
	if err != nil {
		return nil, err
	}
	info, err := l.Info()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &tcxHook{link: l, program: info.Program}, nil
}

func tcxAttach(d tcDirection) ebpf.AttachType {
	if d == tcEgress {
		return ebpf.AttachTCXEgress
	}
	return ebpf.AttachTCXIngress
}

func (h *tcxHook) detach() error { return h.link.Close() }

// present: others can detach a link, which then has no interface, and can give it another
// program. The kernel sends no message of either.
func (h *tcxHook) present() (bool, error) {
	info, err := h.link.Info()
	if err != nil {
		return false, err
	}
	tcx := info.TCX()
	return tcx != nil && tcx.Ifindex != 0 && info.Program == h.program, nil
}
