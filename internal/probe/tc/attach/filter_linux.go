// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package attach

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Priorities of our filters: first, or above those that the kernel hands out itself
// (0xc000 and down). Filters of one priority have the same kind and protocol, and the
// newest runs first. If a priority has filters of another kind or protocol, the next
// ones are tried.
const (
	priorityFirst = 1
	priorityLast  = 0xfff0
	priorityMax   = 0xffff
	priorityTries = 16
)

// ErrNoEgress means that another agent's ingress qdisc is in the place of clsact.
var ErrNoEgress = errors.New("the existing ingress qdisc has no egress")

// filter is a cls_bpf filter in direct-action mode.
type filter struct {
	attacher *Attacher
	qdisc    *qdisc
	name     filterName
	program  *ebpf.Program
	filter   netlink.BpfFilter
}

// Filter attaches to clsact, and makes the qdisc if there is none.
func (a *Attacher) Filter(at *Spot, program *ebpf.Program) (Hook, error) {
	if a.instance == nil {
		var err error
		if a.instance, err = newInstance(); err != nil {
			return nil, err
		}
	}
	a.lock.take()
	q, err := ensureQdisc(a.netlink, at.Index)
	if err != nil {
		return nil, err
	}
	if q.kind == qdiscIngress && at.Direction == Egress {
		return nil, ErrNoEgress
	}
	if err := a.removeDeadFrom(q); err != nil {
		return nil, errors.Join(err, q.removeIfUnused())
	}
	f := &filter{
		attacher: a,
		qdisc:    q,
		name:     filterName{instance: a.instance.id, program: at.Program, direction: at.Direction, ourQdisc: q.ours},
		program:  program,
	}
	if err := f.addInOrder(at); err != nil {
		return nil, errors.Join(err, q.removeIfUnused())
	}
	return f, nil
}

// addInOrder adds the filter before those of our programs that run after it. Filters that
// have to run before it are added again if they no longer would, because the newest runs
// first.
func (f *filter) addInOrder(at *Spot) error {
	before, after := filtersOf(at.Before), filtersOf(at.After)
	if err := f.add(at.First, before, after); err != nil {
		return err
	}
	next := f
	for _, earlier := range slices.Backward(before) {
		if earlier.filter.Priority < next.filter.Priority {
			break
		}
		if err := earlier.renew(next.filter.Priority); err != nil {
			return errors.Join(err, f.Detach())
		}
		next = earlier
	}
	return nil
}

func filtersOf(hooks []Hook) (filters []*filter) {
	for _, h := range hooks {
		if f, ok := h.(*filter); ok {
			filters = append(filters, f)
		}
	}
	return filters
}

func (f *filter) add(first bool, before, after []*filter) error {
	there, err := f.qdisc.filters(f.name.direction)
	if err != nil {
		return err
	}
	priorities := lastPriorities(there, before, after)
	if first {
		priorities = firstPriorities(there, before, after)
	}
	return f.addAt(there, priorities...)
}

// addAt tries priorities until one accepts the filter.
func (f *filter) addAt(there []netlink.Filter, priorities ...uint16) (err error) {
	f.filter = netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: f.qdisc.index,
			Parent:    parentOf(f.name.direction),
			Handle:    freeHandle(f.name.instance, there),
			Protocol:  unix.ETH_P_ALL,
		},
		Fd:           f.program.FD(),
		Name:         f.name.String(),
		DirectAction: true,
	}
	for _, priority := range priorities {
		f.filter.Priority = priority
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

// renew adds the filter again at the priority of another filter of ours, and removes the old
// one. For a moment both run.
func (f *filter) renew(priority uint16) error {
	there, err := f.qdisc.filters(f.name.direction)
	if err != nil {
		return err
	}
	old := f.filter
	if err := f.addAt(there, priority); err != nil {
		f.filter = old
		return err
	}
	if err := f.qdisc.netlink.FilterDel(&old); err != nil && !isGone(err) {
		return fmt.Errorf("delete filter %s: %w", old.Name, err)
	}
	return nil
}

// freeHandle returns one of the instance's unused handles.
func freeHandle(instance uint32, there []netlink.Filter) uint32 {
	for handle := instance; ; handle++ {
		if !slices.ContainsFunc(there, func(other netlink.Filter) bool { return other.Attrs().Handle == handle }) {
			return handle
		}
	}
}

// firstPriorities are those to try for a filter before the filters of others. They lie
// behind our filters that run before it, if those are before the others, and never behind
// our filters that run after it.
func firstPriorities(there []netlink.Filter, before, after []*filter) (priorities []uint16) {
	others := uint16(priorityMax)
	for _, other := range there {
		if _, ours := ourFilter(other); !ours {
			others = min(others, other.Attrs().Priority)
		}
	}
	from := uint16(priorityFirst)
	for _, f := range before {
		from = max(from, min(f.filter.Priority, priorityMax-1)+1)
	}
	if from > others {
		from = priorityFirst
	}
	limit := from + min(priorityTries-1, priorityMax-from)
	for _, f := range after {
		limit = min(limit, f.filter.Priority)
	}
	for priority := min(from, limit); priority <= limit && priority != 0; priority++ {
		priorities = append(priorities, priority)
	}
	return priorities
}

// lastPriorities are those to try for a filter behind others. They lie behind our filters
// that run before it, and not behind those that run after it.
func lastPriorities(there []netlink.Filter, before, after []*filter) (priorities []uint16) {
	others := uint16(0)
	for _, other := range there {
		if _, ours := ourFilter(other); !ours {
			others = max(others, other.Attrs().Priority)
		}
	}
	lowest := min(others, priorityMax-1) + 1
	for _, f := range before {
		lowest = max(lowest, min(f.filter.Priority, priorityMax-1)+1)
	}
	priority := max(priorityLast, lowest)
	for _, f := range after {
		// One less is enough if that is behind the others.
		priority = min(priority, max(f.filter.Priority-1, min(lowest, f.filter.Priority)))
	}
	for range priorityTries {
		priorities = append(priorities, priority)
		if priority--; priority == 0 {
			break
		}
	}
	return priorities
}

// Detach leaves the qdisc to its last user. It also works on a thread in another network
// namespace, but then it neither locks nor removes dead filters.
func (f *filter) Detach() error {
	if f.attacher.instance.here() {
		f.attacher.lock.take()
	}
	there, err := f.Present()
	if err != nil || !there {
		// Without our filter this is not the qdisc that we know.
		return err
	}
	if err := f.qdisc.netlink.FilterDel(&f.filter); err != nil && !isGone(err) {
		return fmt.Errorf("delete filter %s: %w", f.filter.Name, err)
	}
	return errors.Join(f.attacher.removeDeadFrom(f.qdisc), f.qdisc.removeIfUnused())
}

// Present finds our filter by name, because another process can have removed it and put
// another one in its place.
func (f *filter) Present() (bool, error) {
	filters, err := f.qdisc.filters(f.name.direction)
	if err != nil {
		return false, err
	}
	for _, other := range filters {
		name, ours := ourFilter(other)
		if ours && name == f.name && other.Attrs().Priority == f.filter.Priority && other.Attrs().Handle == f.filter.Handle {
			return true, nil
		}
	}
	return false, nil
}
