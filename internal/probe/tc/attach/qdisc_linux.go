// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package attach

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/dump"
)

// Kinds of qdiscs that hold filters for incoming and outgoing packets. An interface has at
// most one of them.
const (
	qdiscClsact  = "clsact"
	qdiscIngress = "ingress" // without a place for egress
)

// qdisc is the qdisc of an interface that holds filters. Decisions about it need the lock,
// because the kernel does not exclude others meanwhile.
type qdisc struct {
	netlink *netlink.Handle
	index   int
	kind    string
	// ours is set if one of our instances is known to have created it.
	ours bool
}

// ensureQdisc creates a clsact qdisc unless there is a suitable one. A crash before the
// first filter leaves it empty, without a sign of its owner.
func ensureQdisc(handle *netlink.Handle, index int) (*qdisc, error) {
	q := &qdisc{netlink: handle, index: index, kind: qdiscClsact}
	err := handle.QdiscAdd(clsact(index))
	if err == nil {
		q.ours = true
		return q, nil
	}
	if !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("add clsact qdisc: %w", err)
	}
	there, err := qdiscs(handle, linkOf(index))
	if err != nil {
		return nil, err
	}
	if len(there) == 0 {
		return nil, errors.New("add clsact qdisc: another one appeared and vanished")
	}
	return there[0], nil
}

// qdiscs lists the qdiscs that hold filters, of one interface or, for nil, all of
// the network namespace.
func qdiscs(handle *netlink.Handle, device netlink.Link) ([]*qdisc, error) {
	all, err := dump.Settled(func() ([]netlink.Qdisc, error) { return handle.QdiscList(device) })
	if err != nil {
		return nil, fmt.Errorf("list qdiscs: %w", err)
	}
	var list []*qdisc
	for _, q := range all {
		kind := q.Type()
		if q.Attrs().Parent == netlink.HANDLE_CLSACT && (kind == qdiscClsact || kind == qdiscIngress) {
			list = append(list, &qdisc{netlink: handle, index: q.Attrs().LinkIndex, kind: kind})
		}
	}
	return list, nil
}

func clsact(index int) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
}

// linkOf converts an index to netlink's type.
func linkOf(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

func parentOf(d Direction) uint32 {
	if d == Egress {
		return netlink.HANDLE_MIN_EGRESS
	}
	return netlink.HANDLE_MIN_INGRESS
}

// filters lists those of one direction, in the order in which they run. There are none if
// the interface or the qdisc is gone.
func (q *qdisc) filters(d Direction) ([]netlink.Filter, error) {
	if q.kind == qdiscIngress && d == Egress {
		return nil, nil // the kernel would list those of ingress
	}
	list, err := dump.Settled(func() ([]netlink.Filter, error) { return q.netlink.FilterList(linkOf(q.index), parentOf(d)) })
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s filters: %w", d, err)
	}
	return list, nil
}

func (q *qdisc) allFilters() ([]netlink.Filter, error) {
	var all []netlink.Filter
	for d := range Directions {
		list, err := q.filters(d)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// ourFilter is false for the filters of others.
func ourFilter(filter netlink.Filter) (filterName, bool) {
	bpf, ok := filter.(*netlink.BpfFilter)
	if !ok {
		return filterName{}, false
	}
	name, ok := parseFilterName(bpf.Name)
	return name, ok && bpf.Handle-name.instance < maxHandles
}

// removeIfUnused removes a qdisc that is ours and no longer used. A filter that another
// agent adds between the check and the removal would vanish with it, because the kernel
// cannot remove a qdisc only if it is empty.
func (q *qdisc) removeIfUnused() error {
	if !q.ours || q.kind != qdiscClsact {
		return nil
	}
	list, err := q.allFilters()
	if err != nil || len(list) > 0 {
		return err
	}
	// The kernel compares the kind, so an ingress qdisc in its place stays.
	if err := q.netlink.QdiscDel(clsact(q.index)); err != nil && !isGone(err) {
		return fmt.Errorf("delete clsact qdisc: %w", err)
	}
	return nil
}

// isGone reports whether the interface, the qdisc or the filter no longer exists.
func isGone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL)
}
