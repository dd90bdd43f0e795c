// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

// Package listening follows listening sockets from records and scans: it reports them as
// facts, keeps the kernel's tables of listening ports, and reads their queues.
package listening

import (
	"errors"
	"maps"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/live"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/look"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Options are what a Follower needs.
type Options struct {
	Context *record.Context
	Maps    map[string]*ebpf.Map
	Shares  *shared.Shares
	// Selected has a 1 for each port that is asked for; nil means all.
	Selected *[settings.Ports]uint8
	// Max bounds the listeners that are distinguished.
	Max int
	// Services is set if somebody wants to know how listeners fare, Namespaces if somebody wants
	// to know what their network namespaces count.
	Services, Namespaces bool
	// Looks has what connections say of them; it may be nil.
	Looks *live.Looks
}

// Follower keeps what user space knows of listeners.
type Follower struct {
	Options
	// Ports are their ports, by namespace.
	Ports *Ports
	// Queues looks at the sockets of listeners, Held finds those that processes hold.
	Queues *look.Ladder[shared.ListenerLook]
	Held   *hook.Iterator
	// backlogless are those of them that asked for a backlog of 0.
	backlogless *backlogless
	// unbound are listeners whose port the kernel had not chosen yet, by socket. They are
	// reported when they have one.
	unbound map[uint64]shared.ListenRecord
	// sought are those of unbound that were looked for among open files.
	sought map[uint64]bool
	// refused are listeners that found no room, and are counted as lost. A scan meets a
	// socket once per descriptor, and later scans meet it again.
	refused map[uint64]bool
	// gone and stale are about listeners whose end was missed.
	gone  goneListeners
	stale int64
	// lostRecords is the ledger's count at the last scan.
	lostRecords int64
	// overflowsCounted: hooks count the overflows of accept queues.
	overflowsCounted bool
	// overflowing counts them where no hooks do; nil when nobody asks.
	overflowing *namespaceOverflows
	// services follows how they fare; nil when nobody asks.
	services *services

	listener connection.Listener
}

// New follows no listener yet.
func New(o Options) *Follower {
	f := &Follower{
		Options:     o,
		Ports:       NewPorts(o.Maps, o.Selected),
		backlogless: newBacklogless(o.Maps),
		unbound:     make(map[uint64]shared.ListenRecord),
		sought:      make(map[uint64]bool),
		refused:     make(map[uint64]bool),
	}
	if o.Services || o.Namespaces {
		f.services = newServices(o.Context.OwnNetNS, time.Now())
	}
	if o.Services {
		f.services.ports = newPortCounts(o.Maps["port_counters"], f.Ports.countedSYNs)
		f.Ports.countSYNs = true
	}
	return f
}

// CountOverflows says that hooks count the overflows of accept queues, or else, where they
// are asked for, that the counters of namespaces have to do.
func (f *Follower) CountOverflows(byHooks, asked bool) {
	f.overflowsCounted = byHooks
	if asked && !byHooks {
		f.overflowing = newNamespaceOverflows(f.Context.OwnNetNS, f.Max, f.Selected != nil)
	}
}

// CountConnections says whether hooks count the SYNs and the completed connections of ports.
func (f *Follower) CountConnections(syns, completed bool) {
	if f.services != nil {
		f.services.ports.syns, f.services.ports.completed = syns, completed
	}
}

// Knows reports whether a socket is a listener that was reported.
func (f *Follower) Knows(socket uint64) bool {
	_, known := f.Ports.sockets[socket]
	return known
}

// Opened takes the record of a listener that begins.
func (f *Follower) Opened(r *shared.ListenRecord) {
	delete(f.refused, r.Sk) // it was another one
	f.follow(r, true)
}

// Found takes the record of a listener that exists. It may be known already.
func (f *Follower) Found(r *shared.ListenRecord) { f.follow(r, false) }

// follow takes a listener; begins is set if the record is of its beginning.
func (f *Follower) follow(r *shared.ListenRecord, begins bool) {
	if f.overflowing != nil {
		f.overflowing.listen(r, f.selects(r.Port))
	}
	if r.Port == 0 {
		f.waitForPort(r, begins)
		return
	}
	delete(f.unbound, r.Sk)
	known, followed := f.Knows(r.Sk), shared.Followed(r.Followed)
	switch {
	case known:
	case followed == shared.FollowedNotShare:
		// A namespace beyond its share takes no room in the tables of user space either.
		f.refuse(r.Sk, ledger.MapShare, begins)
		return
	case len(f.Ports.sockets) >= f.Max:
		f.refuse(r.Sk, ledger.TableFull, begins)
		return
	}
	delete(f.refused, r.Sk)
	key := shared.PortKey{Netns: r.Head.Netns, Port: uint32(r.Port)}
	err := errors.Join(f.Ports.opened(r.Sk, key), f.backlogless.opened(r))
	if err != nil || (!known && followed == shared.FollowedNot) {
		f.lost(ledger.MapFull)
	}
	f.listener = connection.Listener{
		Socket:  r.Sk,
		NetNS:   r.Head.Netns,
		Address: netip.AddrPortFrom(netip.AddrFrom16(r.Address).Unmap(), r.Port),
		Owner:   record.Owner(&r.Owner),
	}
	f.services.opened(&f.listener, r.Owner.Process.Pid, time.Now())
	f.Context.Sink.ListenerOpened(&f.listener)
}

// waitForPort keeps a listener until its port is known. Nobody would ask for the port of one
// that the kernel does not follow.
func (f *Follower) waitForPort(r *shared.ListenRecord, begins bool) {
	if _, waits := f.unbound[r.Sk]; !waits {
		switch shared.Followed(r.Followed) {
		case shared.FollowedNotShare:
			f.refuse(r.Sk, ledger.MapShare, begins)
			return
		case shared.FollowedNot:
			f.refuse(r.Sk, ledger.MapFull, begins)
			return
		}
	}
	f.unbound[r.Sk] = *r
}

// refuse counts a listener that finds no room, once. It remembers at most Max of them. Further
// ones count when they begin, but not when a scan finds them, perhaps again.
func (f *Follower) refuse(socket uint64, cause ledger.Cause, begins bool) {
	full := len(f.refused) >= f.Max
	if f.refused[socket] || full && !begins {
		return
	}
	if !full {
		f.refused[socket] = true
	}
	f.lost(cause)
}

func (f *Follower) lost(cause ledger.Cause) { f.Context.Sink.FactsLost(ledger.Listener, cause, 1) }

// Ended takes the record of a listener's end. The listener is unknown if the record of its
// beginning was lost.
func (f *Follower) Ended(r *shared.ListenRecord) {
	delete(f.refused, r.Sk)
	if opened, waits := f.unbound[r.Sk]; waits {
		delete(f.unbound, r.Sk)
		// Without a port listen() failed.
		if opened.Port = r.Port; r.Port != 0 {
			f.Found(&opened)
		}
	}
	overflows := r.Overflows
	if !f.overflowsCounted {
		overflows = 0
		if f.overflowing != nil {
			overflows = f.overflowing.ended(r.Sk)
		}
	}
	if !f.Knows(r.Sk) {
		return
	}
	if err := errors.Join(f.Ports.closed(r.Sk), f.backlogless.closed(r.Sk)); err != nil {
		f.lost(ledger.MapFull)
	}
	f.services.ended(r.Sk)
	if !f.selects(r.Port) {
		overflows = 0
	}
	f.Context.Sink.ListenerClosed(r.Sk, overflows)
}

// KeepOnly ends the listeners that a complete scan did not find.
func (f *Follower) KeepOnly(found map[uint64]bool) {
	maps.DeleteFunc(f.unbound, func(socket uint64, _ shared.ListenRecord) bool { return !found[socket] })
	maps.DeleteFunc(f.refused, func(socket uint64, _ bool) bool { return !found[socket] })
	for socket := range f.Ports.sockets {
		if !found[socket] {
			f.Ended(&shared.ListenRecord{Sk: socket})
		}
	}
	f.overflowing.keepOnly(found)
}

// Outdated reports whether records of listeners were lost since the last call: the ledger's
// count has changed.
func (f *Follower) Outdated(lost int64) bool {
	changed := lost != f.lostRecords
	f.lostRecords = lost
	return changed
}

// Stale is the number of entries whose end the hooks missed, so far.
func (f *Follower) Stale() int64 { return f.stale }

// selects reports whether the configuration asks for a local port.
func (f *Follower) selects(port uint16) bool { return f.Selected == nil || f.Selected[port] != 0 }
