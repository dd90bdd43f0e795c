// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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
type tcHook interface{ detach() error }

// tcAttacher attaches programs in one network namespace.
type tcAttacher struct {
	mode  TCMode
	first bool
	// instance tells our filters from those of other instances and agents.
	instance uint32
	netlink  *netlink.Handle
}

func newTCAttacher(cfg *Config, handle *netlink.Handle) (*tcAttacher, error) {
	var id [4]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("choose an instance id: %w", err)
	}
	// Handle 0 would let the kernel choose.
	instance := binary.NativeEndian.Uint32(id[:]) | 1
	return &tcAttacher{mode: cfg.TCMode, first: cfg.TCFirst, instance: instance, netlink: handle}, nil
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

// Priorities of our filters: first in the list or, above those that the kernel
// hands out itself, last. The next ones are tried when another kind of filter
// holds one of them.
const (
	tcPriorityFirst = 1
	tcPriorityLast  = 0xfff0
	tcPriorityTries = 16
)

// tcFilter is a cls_bpf filter in direct-action mode.
type tcFilter struct {
	netlink  *netlink.Handle
	filter   netlink.BpfFilter
	ourQdisc bool
}

func (a *tcAttacher) attachFilter(index int, d tcDirection, prog *ebpf.Program) (tcHook, error) {
	made, err := a.ensureClsact(index)
	if err != nil {
		return nil, err
	}
	f := &tcFilter{netlink: a.netlink, ourQdisc: made}
	f.filter = netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index,
			Parent:    netlink.HANDLE_MIN_INGRESS,
			Handle:    a.instance,
			Protocol:  unix.ETH_P_ALL,
		},
		Fd:           prog.FD(),
		Name:         fmt.Sprintf("ebpf_tcp-%08x-%s", a.instance, d),
		DirectAction: true,
	}
	if d == tcEgress {
		f.filter.Parent = netlink.HANDLE_MIN_EGRESS
	}
	for try := range uint16(tcPriorityTries) {
		f.filter.Priority = tcPriorityLast - try
		if a.first {
			f.filter.Priority = tcPriorityFirst + try
		}
		if err = a.netlink.FilterAdd(&f.filter); err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	err = fmt.Errorf("add filter %s: %w", f.filter.Name, err)
	return nil, errors.Join(err, f.removeQdisc())
}

// ensureClsact says whether it had to make the qdisc.
func (a *tcAttacher) ensureClsact(index int) (made bool, err error) {
	err = a.netlink.QdiscAdd(clsact(index))
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, unix.EEXIST) {
		return false, fmt.Errorf("add clsact qdisc: %w", err)
	}
	kind, err := ingressQdisc(a.netlink, index)
	if err == nil && kind != "clsact" {
		err = fmt.Errorf("the %s qdisc that is there leaves no room for clsact", kind)
	}
	return false, err
}

func clsact(index int) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
}

// ingressQdisc is the kind of the qdisc in the place of clsact; "" if none.
func ingressQdisc(handle *netlink.Handle, index int) (string, error) {
	qdiscs, err := handle.QdiscList(linkOf(index))
	if err != nil {
		return "", fmt.Errorf("list qdiscs: %w", err)
	}
	for _, qdisc := range qdiscs {
		if qdisc.Attrs().Parent == netlink.HANDLE_CLSACT {
			return qdisc.Type(), nil
		}
	}
	return "", nil
}

// linkOf is what netlink wants where an index would do.
func linkOf(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

func (f *tcFilter) detach() error {
	ours, err := f.present()
	if err != nil {
		return err
	}
	if ours {
		if err := f.netlink.FilterDel(&f.filter); err != nil && !isGone(err) {
			return fmt.Errorf("delete filter %s: %w", f.filter.Name, err)
		}
	}
	return f.removeQdisc()
}

// present looks for our filter by name: somebody may have removed it, and put
// another in its place.
func (f *tcFilter) present() (bool, error) {
	filters, err := f.netlink.FilterList(linkOf(f.filter.LinkIndex), f.filter.Parent)
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list filters: %w", err)
	}
	for _, other := range filters {
		if bpf, ok := other.(*netlink.BpfFilter); ok && bpf.Name == f.filter.Name &&
			bpf.Handle == f.filter.Handle && bpf.Priority == f.filter.Priority {
			return true, nil
		}
	}
	return false, nil
}

// removeQdisc removes the qdisc if we made it and nobody else uses it by now.
func (f *tcFilter) removeQdisc() error {
	if !f.ourQdisc {
		return nil
	}
	index := f.filter.LinkIndex
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := f.netlink.FilterList(linkOf(index), parent)
		if isGone(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list filters: %w", err)
		}
		if len(filters) > 0 {
			return nil
		}
	}
	if err := f.netlink.QdiscDel(clsact(index)); err != nil && !isGone(err) {
		return fmt.Errorf("delete clsact qdisc: %w", err)
	}
	return nil
}

// isGone: the interface, the qdisc or the filter is there no more.
func isGone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL)
}
