// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package listening

import (
	"errors"
	"maps"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/look"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Look looks at every listener of every network namespace, and ends those whose end was
// missed. It returns their queues, and the overflows of each namespace that belong to no
// known listener, where no hook counts them.
func (f *Follower) Look() (queues []connection.Queues, overflows []connection.Overflow, err error) {
	gone := make(goneListeners)
	f.overflowing.beginPass()
	err = f.Queues.Each(func(r *shared.ListenerLook) {
		switch {
		case look.Came(r.Outcome, shared.LookOutcomeEnded):
		case r.Listener.Ended != 0:
			// The ring had no room, which the ledger counts; the last counts are here.
			f.end(r)
		case look.Came(r.Outcome, shared.LookOutcomeGone):
			if f.gone[r.Sk] == r.Listener.Since && f.end(r) {
				f.stale++
				return
			}
			gone[r.Sk] = r.Listener.Since
		default:
			f.bound(r)
			f.overflowing.look(r)
			if f.selects(f.portOf(r)) {
				queues = append(queues, f.queues(r))
			}
		}
	})
	f.gone = gone
	if f.overflowing == nil {
		return queues, nil, err
	}
	counted, ledgerErr := shared.ReadLedger(f.Maps["ledger"])
	if ledgerErr != nil || int64(counted.Lost[shared.EventListener][shared.CauseRingFull]) != f.lostRecords {
		f.overflowing.Doubt()
	}
	overflows = f.overflowing.endPass()
	for i := range queues {
		q := &queues[i]
		total, known := f.overflowing.Of(q.Socket)
		q.Overflows, q.OverflowsUnread = total, !known
	}
	return queues, overflows, errors.Join(err, ledgerErr)
}

// goneListeners remembers, from one pass to the next, entries whose socket did not listen, by
// the time they were made. Once may be a listener that is just beginning or ending; twice in
// a row means that the hook missed its end.
type goneListeners map[uint64]uint64

// end deletes the entry of a listener that ended, unless another listener has it by now, and
// reports the end.
func (f *Follower) end(r *shared.ListenerLook) bool {
	entries := f.Maps["listeners"]
	var now shared.Listener
	if entries.Lookup(&r.Sk, &now) != nil || now.Since != r.Listener.Since || entries.Delete(&r.Sk) != nil {
		return false
	}
	f.Shares.ReportDeleted(now.Netns, shared.RoomListeners)
	f.Ended(&shared.ListenRecord{Sk: r.Sk, Port: now.Port, Overflows: now.Overflows})
	return true
}

// FindPorts reports the listeners that began without a port, once they have it.
func (f *Follower) FindPorts() error {
	if len(f.unbound) == 0 {
		return nil
	}
	if !f.Queues.Reads() {
		return f.findPortsAmongFiles()
	}
	return f.Queues.Each(func(r *shared.ListenerLook) {
		if r.Listens() {
			f.bound(r)
		}
	})
}

// findPortsAmongFiles is for a kernel where the sockets of entries can't be asked. It finds
// the listeners that processes hold. That takes long, so each is looked for only once.
func (f *Follower) findPortsAmongFiles() error {
	sought := make(map[uint64]bool)
	for socket := range f.unbound {
		if !f.sought[socket] {
			sought[socket] = true
		}
	}
	if len(sought) == 0 {
		return nil
	}
	err := hook.Each(f.Held, func(r *shared.ScanRecord) {
		if sought[r.Listener.Sk] && r.Listener.Port != 0 {
			f.bound(&shared.ListenerLook{Sk: r.Listener.Sk, Listener: shared.Listener{Port: r.Listener.Port}})
		}
	})
	maps.DeleteFunc(f.sought, func(socket uint64, _ bool) bool { return !f.Waits(socket) })
	for socket := range f.unbound {
		f.sought[socket] = true
	}
	return err
}

// Waits reports whether a listener is not reported yet because it has no port.
func (f *Follower) Waits(socket uint64) bool {
	_, waits := f.unbound[socket]
	return waits
}

// bound reports a listener whose port was not known until now.
func (f *Follower) bound(r *shared.ListenerLook) {
	opened, waits := f.unbound[r.Sk]
	if !waits || r.Listener.Port == 0 {
		return
	}
	opened.Port = r.Listener.Port
	f.Found(&opened)
}

// portOf is the listener's port. An entry of a listener that bound no port lacks it where its
// socket can't be asked.
func (f *Follower) portOf(r *shared.ListenerLook) uint16 {
	if r.Listener.Port != 0 {
		return r.Listener.Port
	}
	return uint16(f.Ports.sockets[r.Sk].Port)
}

func (f *Follower) queues(r *shared.ListenerLook) connection.Queues {
	q := connection.Queues{Socket: r.Sk, Since: r.Listener.Since}
	q.Unread = !look.Came(r.Outcome, shared.LookOutcomeRead)
	// Without the hooks they are known after the pass over all listeners.
	q.OverflowsUnread = !f.overflowsCounted
	if !q.Unread {
		q.Accept, q.AcceptLimit, q.SYN = r.AcceptQueue, r.AcceptLimit, r.SynQueue
	}
	if !q.OverflowsUnread {
		q.Overflows = r.Listener.Overflows
	}
	return q
}
