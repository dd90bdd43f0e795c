// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Priorities of our filters: first, or above those that the kernel hands out itself
// (0xc000 and down). Filters of one priority have the same kind and protocol, and the
// newest runs first. Where a priority is taken by others that differ from ours, the
// next ones are tried.
const (
	tcPriorityFirst = 1
	tcPriorityLast  = 0xfff0
	tcPriorityMax   = 0xffff
	tcPriorityTries = 16
)

// errNoEgress: somebody's ingress qdisc is where clsact would have to be.
var errNoEgress = errors.New("the ingress qdisc that is there has no place for egress")

// tcFilter is a cls_bpf filter in direct-action mode.
type tcFilter struct {
	attacher *tcAttacher
	qdisc    *tcQdisc
	name     tcFilterName
	filter   netlink.BpfFilter
}

func (a *tcAttacher) attachFilter(index int, d tcDirection, prog *ebpf.Program) (tcHook, error) {
	if err := a.excluded.Refuse(tcHookName(TCClsact, d)); err != nil {
		return nil, err
	}
	if a.instance == nil {
		var err error
		if a.instance, err = newTCInstance(); err != nil {
			return nil, err
		}
	}
	a.lock.take()
	qdisc, err := ensureTCQdisc(a.netlink, index)
	if err != nil {
		return nil, err
	}
	if qdisc.kind == qdiscIngress && d == tcEgress {
		return nil, errNoEgress
	}
	if err := a.removeDeadFrom(qdisc); err != nil {
		return nil, errors.Join(err, qdisc.removeIfUnused())
	}
	f := &tcFilter{
		attacher: a,
		qdisc:    qdisc,
		name:     tcFilterName{instance: a.instance.id, direction: d, ourQdisc: qdisc.ours},
	}
	if err := f.add(a.first, prog); err != nil {
		return nil, errors.Join(err, qdisc.removeIfUnused())
	}
	return f, nil
}

func (f *tcFilter) add(first bool, prog *ebpf.Program) error {
	f.filter = netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: f.qdisc.index,
			Parent:    tcParent(f.name.direction),
			Handle:    f.name.instance,
			Protocol:  unix.ETH_P_ALL,
		},
		Fd:           prog.FD(),
		Name:         f.name.String(),
		DirectAction: true,
	}
	there, err := f.qdisc.filters(f.name.direction)
	if err != nil {
		return err
	}
	for try := range uint16(tcPriorityTries) {
		f.filter.Priority = tcPriorityFirst + try
		if !first {
			f.filter.Priority = lastPriority(there) - try
		}
		err = f.qdisc.netlink.FilterAdd(&f.filter)
		if !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("add filter %s: %w", f.filter.Name, err)
	}
	return nil
}

// lastPriority is behind all filters of others, if that is possible.
func lastPriority(there []netlink.Filter) uint16 {
	last := uint16(tcPriorityLast)
	for _, filter := range there {
		if _, ours := ourTCFilter(filter); !ours {
			last = max(last, min(filter.Attrs().Priority, tcPriorityMax-1)+1)
		}
	}
	return last
}

// detach leaves the qdisc to the last one in it. On a thread in another network
// namespace it works, too, but neither locks nor removes what others left.
func (f *tcFilter) detach() error {
	if f.attacher.instance.here() {
		f.attacher.lock.take()
	}
	there, err := f.present()
	if err != nil || !there {
		// Without our filter the qdisc that is there is not the one that we know.
		return err
	}
	if err := f.qdisc.netlink.FilterDel(&f.filter); err != nil && !isGone(err) {
		return fmt.Errorf("delete filter %s: %w", f.filter.Name, err)
	}
	return errors.Join(f.attacher.removeDeadFrom(f.qdisc), f.qdisc.removeIfUnused())
}

// present looks for our filter by name: somebody may have removed it, and put
// another in its place.
func (f *tcFilter) present() (bool, error) {
	filters, err := f.qdisc.filters(f.name.direction)
	if err != nil {
		return false, err
	}
	for _, other := range filters {
		if name, ours := ourTCFilter(other); ours && name == f.name && other.Attrs().Priority == f.filter.Priority {
			return true, nil
		}
	}
	return false, nil
}
