// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"
)

// removeDead removes what dead instances left on all interfaces, whatever the mode:
// they may have run under another one. The thread has to be in the attacher's network
// namespace.
func (a *tcAttacher) removeDead() error {
	a.lock.take()
	qdiscs, err := tcQdiscs(a.netlink, nil)
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

// removeDeadFrom removes the filters of instances that are dead, and learns from those
// of all our instances whether one of them made the qdisc. Filters that others have put
// into a qdisc of ours when none of ours is left in it make it theirs. On a thread
// where our own name is not known nobody can be judged.
func (a *tcAttacher) removeDeadFrom(q *tcQdisc) error {
	list, err := q.allFilters()
	if err != nil {
		return err
	}
	judge := !a.leaveDead && (a.instance == nil || a.instance.here())
	for _, filter := range list {
		name, ok := ourTCFilter(filter)
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

// removeDead says what it found: somebody has to know that an instance crashed. It
// names those that seem to live, too: anyone can hold the name of a dead one.
func (v *tcVantage) removeDead() {
	v.changing.Lock()
	defer v.changing.Unlock()
	defer v.attacher.lock.release()
	err := v.attacher.removeDead()
	if removed := v.attacher.removed; removed > 0 {
		v.logger.Info("removed the filters of instances that are dead", zap.Int("filters", removed))
	}
	var living []string
	for id := range v.attacher.living {
		living = append(living, "@"+instanceName(id))
	}
	if len(living) > 0 {
		slices.Sort(living)
		v.logger.Info("filters of other instances stay, for somebody holds their sockets", zap.Strings("sockets", living))
	}
	if err != nil {
		v.logger.Warn("filters of dead instances may be left", zap.Error(err))
	}
}
