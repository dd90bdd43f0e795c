// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package attach

import (
	"errors"
	"fmt"
	"slices"
)

// RemoveDead removes the filters of dead instances from all interfaces, whatever the mode,
// because they can have run in another one. The thread is in the attacher's namespace.
func (a *Attacher) RemoveDead() error {
	a.lock.take()
	qdiscs, err := qdiscs(a.netlink, nil)
	if err != nil {
		return err
	}
	for _, q := range qdiscs {
		before := a.removed
		removeErr := a.removeDeadFrom(q)
		if removeErr == nil && a.removed > before {
			removeErr = q.removeIfUnused()
		}
		if removeErr != nil {
			err = errors.Join(err, fmt.Errorf("interface %d: %w", q.index, removeErr))
		}
	}
	return err
}

// removeDeadFrom removes the filters of dead instances, whatever their program. The filters
// of all our instances say whether one of them created the qdisc. A qdisc without any of our
// filters belongs to the owners of the filters in it. On a thread that cannot find our own
// name, all instances seem dead, so it removes nothing.
func (a *Attacher) removeDeadFrom(q *qdisc) error {
	list, err := q.allFilters()
	if err != nil {
		return err
	}
	judge := !a.leaveDead && (a.instance == nil || a.instance.here())
	for _, filter := range list {
		name, ok := ourFilter(filter)
		if !ok {
			continue
		}
		q.ours = q.ours || name.ourQdisc
		if !judge || (a.instance != nil && name.instance == a.instance.id) {
			continue
		}
		release, dead := claimDead(name.instance)
		if !dead {
			a.living[name.instance] = true
			continue
		}
		delErr := q.netlink.FilterDel(filter)
		release()
		switch {
		case delErr == nil:
			a.removed++
		case !isGone(delErr):
			err = errors.Join(err, fmt.Errorf("delete filter %s: %w", name, delErr))
		}
	}
	return err
}

// Removed is the number of filters of dead instances that were removed.
func (a *Attacher) Removed() int { return a.removed }

// Living are the sockets of the other instances whose filters were found.
func (a *Attacher) Living() []string {
	var sockets []string
	for id := range a.living {
		sockets = append(sockets, "@"+instanceName(id))
	}
	slices.Sort(sockets)
	return sockets
}
