// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
)

// visitQueues takes a look at every listener of every network namespace. It also
// ends those whose end was not told.
func (p *Probe) visitQueues(s *Snapshot) error {
	gone := make(goneListeners)
	err := each(&p.scans.queues, func(r *sockListenerLook) {
		switch {
		case r.Listener.Ended != 0:
			// The ring had no room, which is in the books; the last counts are here.
			p.endListener(r)
		case r.Gone != 0:
			if p.goneListeners[r.Sk] == r.Listener.Since && p.endListener(r) {
				p.staleListeners++
				return
			}
			gone[r.Sk] = r.Listener.Since
		default:
			p.decoder.bound(r)
			if p.decoder.selects(r.Listener.Port) {
				s.Queues = append(s.Queues, p.decoder.queues(r))
			}
		}
	})
	p.goneListeners = gone
	return err
}

// goneListeners remembers, from one snapshot to the next, entries whose socket did not
// listen, by the time they were made. Once may be a listener that is just beginning or
// ending; twice in a row means that the hook missed its end.
type goneListeners map[uint64]uint64

// endListener deletes the entry of a listener that ended, unless it is another's by
// now, and tells of the end.
func (p *Probe) endListener(r *sockListenerLook) bool {
	entries := p.objects.maps.Maps["listeners"]
	var now sockListener
	if entries.Lookup(&r.Sk, &now) != nil || now.Since != r.Listener.Since || entries.Delete(&r.Sk) != nil {
		return false
	}
	p.shares.deleted(now.Netns, sockRoomROOM_LISTENERS)
	p.decoder.unlisten(&sockListenRecord{
		Sk: r.Sk, Port: now.Port, Overflows: now.Overflows, Drops: now.Drops,
	})
	return true
}

// findPorts tells of the listeners that began without a port, once they have it.
func (p *Probe) findPorts() error {
	if len(p.decoder.unbound) == 0 {
		return nil
	}
	return each(&p.scans.queues, func(r *sockListenerLook) {
		if r.Gone == 0 {
			p.decoder.bound(r)
		}
	})
}

// bound tells of a listener whose port was not known until now.
func (d *decoder) bound(r *sockListenerLook) {
	opened, waits := d.unbound[r.Sk]
	if !waits || r.Listener.Port == 0 {
		return
	}
	opened.Port = r.Listener.Port
	d.listen(&opened)
}

func (d *decoder) queues(r *sockListenerLook) connection.Queues {
	return connection.Queues{
		Socket:      r.Sk,
		Since:       r.Listener.Since,
		Accept:      r.AcceptQueue,
		AcceptLimit: r.AcceptLimit,
		SYN:         r.SynQueue,
		Overflows:   d.overflows(r.Listener.Overflows, r.Drops),
	}
}

// overflows is the hooks' count where they are attached. Else it is what the listener
// dropped: besides overflows, SYNs that found the SYN queue full without SYN cookies
// or the host without memory, and segments that a socket filter refused.
func (d *decoder) overflows(counted uint64, drops uint32) uint64 {
	if d.overflowsCounted {
		return counted
	}
	return uint64(drops)
}

// selects reports whether the configuration asks for a local port.
func (d *decoder) selects(port uint16) bool {
	return d.selectedPorts == nil || d.selectedPorts[port] != 0
}
