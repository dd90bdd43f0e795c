// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"maps"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// visitQueues takes a look at every listener of every network namespace. It also
// ends those whose end was not told.
func (p *Probe) visitQueues(s *Snapshot) error {
	gone := make(goneListeners)
	p.decoder.overflowing.beginPass()
	err := p.scans.queues.each(func(r *shared.ListenerLook) {
		switch {
		case came(r.Outcome, shared.LookOutcomeEnded):
		case r.Listener.Ended != 0:
			// The ring had no room, which is in the books; the last counts are here.
			p.endListener(r)
		case came(r.Outcome, shared.LookOutcomeGone):
			if p.goneListeners[r.Sk] == r.Listener.Since && p.endListener(r) {
				p.staleListeners++
				return
			}
			gone[r.Sk] = r.Listener.Since
		default:
			p.decoder.bound(r)
			p.decoder.overflowing.look(r)
			if p.decoder.selects(p.decoder.portOf(r)) {
				s.Queues = append(s.Queues, p.decoder.queues(r))
			}
		}
	})
	p.goneListeners = gone
	return errors.Join(err, p.shareOverflows(s))
}

// goneListeners remembers, from one snapshot to the next, entries whose socket did not
// listen, by the time they were made. Once may be a listener that is just beginning or
// ending; twice in a row means that the hook missed its end.
type goneListeners map[uint64]uint64

// endListener deletes the entry of a listener that ended, unless it is another's by
// now, and tells of the end.
func (p *Probe) endListener(r *shared.ListenerLook) bool {
	entries := p.objects.maps.Maps["listeners"]
	var now shared.Listener
	if entries.Lookup(&r.Sk, &now) != nil || now.Since != r.Listener.Since || entries.Delete(&r.Sk) != nil {
		return false
	}
	p.shares.ReportDeleted(now.Netns, shared.RoomListeners)
	p.decoder.unlisten(&shared.ListenRecord{
		Sk: r.Sk, Port: now.Port, Overflows: now.Overflows,
	})
	return true
}

// findPorts tells of the listeners that began without a port, once they have it.
func (p *Probe) findPorts() error {
	if len(p.decoder.unbound) == 0 {
		return nil
	}
	if !p.scans.queues.reads() {
		return p.findPortsAmongFiles()
	}
	return p.scans.queues.each(func(r *shared.ListenerLook) {
		if r.Listens() {
			p.decoder.bound(r)
		}
	})
}

// findPortsAmongFiles is for a kernel where nobody can ask the sockets of entries: those
// that processes hold are found. It takes long, so each listener is looked for but once.
func (p *Probe) findPortsAmongFiles() error {
	sought := make(map[uint64]bool)
	for socket := range p.decoder.unbound {
		if !p.sought[socket] {
			sought[socket] = true
		}
	}
	if len(sought) == 0 {
		return nil
	}
	err := hook.Each(&p.scans.listeners, func(r *shared.ScanRecord) {
		if sought[r.Listener.Sk] && r.Listener.Port != 0 {
			p.decoder.bound(&shared.ListenerLook{Sk: r.Listener.Sk, Listener: shared.Listener{Port: r.Listener.Port}})
		}
	})
	maps.DeleteFunc(p.sought, func(socket uint64, _ bool) bool { _, waits := p.decoder.unbound[socket]; return !waits })
	for socket := range p.decoder.unbound {
		p.sought[socket] = true
	}
	return err
}

// bound tells of a listener whose port was not known until now.
func (d *decoder) bound(r *shared.ListenerLook) {
	opened, waits := d.unbound[r.Sk]
	if !waits || r.Listener.Port == 0 {
		return
	}
	opened.Port = r.Listener.Port
	d.listen(&opened)
}

// portOf is the listener's port; where nobody asks its socket, the entry of one that bound
// none has it not.
func (d *decoder) portOf(r *shared.ListenerLook) uint16 {
	if r.Listener.Port != 0 {
		return r.Listener.Port
	}
	return uint16(d.listeners.sockets[r.Sk].Port)
}

func (d *decoder) queues(r *shared.ListenerLook) connection.Queues {
	q := connection.Queues{Socket: r.Sk, Since: r.Listener.Since}
	q.Unread = !came(r.Outcome, shared.LookOutcomeRead)
	// Without the hooks shareOverflows knows, when all listeners were looked at.
	q.OverflowsUnread = !d.overflowsCounted
	if !q.Unread {
		q.Accept, q.AcceptLimit, q.SYN = r.AcceptQueue, r.AcceptLimit, r.SynQueue
	}
	if !q.OverflowsUnread {
		q.Overflows = r.Listener.Overflows
	}
	return q
}

// selects reports whether the configuration asks for a local port.
func (d *decoder) selects(port uint16) bool {
	return d.selectedPorts == nil || d.selectedPorts[port] != 0
}
