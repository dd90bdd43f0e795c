// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package tc

import (
	"errors"
	"fmt"
)

// removeDead removes the filters of dead instances from all interfaces. The mode does not
// matter: they may have run in another one. The thread is in the attacher's namespace.
func (a *attacher) removeDead() error {
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

// removeDeadFrom removes the filters of dead instances, whatever their program. It learns
// from the filters of all our instances whether one of them made the qdisc. When none of
// ours is left in a qdisc, it belongs to those who put filters into it. On a thread
// that does not know our own name, all seem dead, so none is removed.
func (a *attacher) removeDeadFrom(q *qdisc) error {
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
