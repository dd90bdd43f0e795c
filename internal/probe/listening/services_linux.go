// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package listening

import (
	"errors"
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/look"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// services follows how listeners and their network namespaces fare, from one report to the next.
// It has room for the listeners that were reported, which are bounded.
type services struct {
	own        uint32
	listeners  map[uint64]*service
	namespaces map[uint32]*namespace
	// ports follows nothing unless it is set.
	ports portCounts
}

type service struct {
	netns   uint32
	address netip.AddrPort
	// since is when its interval began, overflows the kernel's count then.
	since     time.Time
	overflows uint64
}

type namespace struct {
	// owners are the processes of its listeners, by socket.
	owners map[uint64]uint32
	// since is when its interval began, counters what they were then: nil if not known.
	since    time.Time
	counters counters
}

type counters [source.NamespaceCounters]*uint64

func newServices(own uint32, now time.Time) *services {
	s := &services{own: own, listeners: make(map[uint64]*service), namespaces: make(map[uint32]*namespace)}
	s.begin(own, s.namespace(own, now), now)
	return s
}

// namespace returns one that may be new. Its counts begin when its first listener is found, or
// with the first report if it can't be read yet.
func (s *services) namespace(netns uint32, now time.Time) *namespace {
	n := s.namespaces[netns]
	if n == nil {
		n = &namespace{owners: make(map[uint64]uint32), since: now}
		s.namespaces[netns] = n
	}
	return n
}

// opened takes a listener that begins or was found, and that a process owns; pid 0 is none.
func (s *services) opened(l *connection.Listener, pid uint32, now time.Time) {
	if s == nil {
		return
	}
	if known, ok := s.listeners[l.Socket]; ok {
		if known.netns == l.NetNS {
			s.namespaces[l.NetNS].owners[l.Socket] = pid
			return
		}
		s.ended(l.Socket)
	}
	s.listeners[l.Socket] = &service{netns: l.NetNS, address: l.Address, since: now}
	s.ports.begin(shared.PortKey{Netns: l.NetNS, Port: uint32(l.Address.Port())})
	n := s.namespace(l.NetNS, now)
	n.owners[l.Socket] = pid
	s.begin(l.NetNS, n, now)
}

// begin reads what a namespace has counted before. If it can't be read, the next report says so.
func (s *services) begin(netns uint32, n *namespace, now time.Time) {
	if n.counters != (counters{}) {
		return
	}
	if before, err := s.read(netns, n); err == nil {
		n.counters, n.since = before, now
	}
}

func (s *services) ended(socket uint64) {
	if s == nil {
		return
	}
	l, ok := s.listeners[socket]
	if !ok {
		return
	}
	delete(s.listeners, socket)
	s.ports.end(shared.PortKey{Netns: l.netns, Port: uint32(l.address.Port())})
	n := s.namespaces[l.netns]
	delete(n.owners, socket)
	if len(n.owners) == 0 && l.netns != s.own {
		delete(s.namespaces, l.netns)
	}
}

func (s *services) read(netns uint32, n *namespace) (now counters, err error) {
	data, err := readNamespace(netns, s.own, n.owners)
	if err != nil {
		return now, err
	}
	for c := range source.NamespaceCounters {
		// A kernel may lack one: it stays absent.
		if value, err := netstatValue(data, c.String()); err == nil {
			now[c] = &value
		}
	}
	return now, nil
}

// ReportServices reports how each listener and each network namespace with listeners has fared
// since the last report. A namespace that can't be read is reported once it can be, with a longer
// interval.
func (f *Follower) ReportServices(now time.Time) error {
	var err error
	if f.Services {
		err = f.reportListeners(now)
	}
	if f.Namespaces {
		err = errors.Join(err, f.services.reportNamespaces(now, f.Context.Sink))
	}
	return err
}

func (f *Follower) reportListeners(now time.Time) error {
	told := make(map[shared.PortKey]bool)
	err := f.Queues.Each(func(r *shared.ListenerLook) {
		if r.Listens() && r.Listener.Ended == 0 && f.selects(f.portOf(r)) {
			f.reportService(now, r, told)
		}
	})
	f.Looks.SpendServices()
	return err
}

func (f *Follower) reportService(now time.Time, r *shared.ListenerLook, told map[shared.PortKey]bool) {
	l, ok := f.services.listeners[r.Sk]
	if !ok { // it has no port yet, or was lost
		return
	}
	fared := source.Service{
		Time: now.UnixNano(), Interval: now.Sub(l.since), NetNS: l.netns, Address: l.address, Socket: r.Sk,
	}
	l.since = now
	if look.Came(r.Outcome, shared.LookOutcomeRead) {
		fared.AcceptQueue, fared.AcceptQueueLimit = &r.AcceptQueue, &r.AcceptLimit
	}
	if f.overflowsCounted {
		count := r.Listener.Overflows
		added := count - min(l.overflows, count)
		l.overflows = count
		fared.Overflows = &added
	}
	// Of several listeners of a port, one has what is known of the port.
	key := shared.PortKey{Netns: l.netns, Port: uint32(l.address.Port())}
	if !told[key] {
		told[key] = true
		f.addConnections(&fared, key)
		fared.SYNs, fared.Completed = f.services.ports.advance(key)
	}
	f.Context.Sink.ServiceSeen(&fared)
}

// addConnections adds what connections say of a port.
func (f *Follower) addConnections(to *source.Service, key shared.PortKey) {
	if f.Looks == nil {
		return
	}
	port, looked := f.Looks.Service(key)
	to.Accept = port.Accept()
	to.Closed, to.ClosedAnswered = &port.Closed, &port.ClosedAnswered
	if looked {
		to.Open = &port.Open
	}
	if looked && !port.Unread {
		to.OpenAnswered = &port.Answered
	}
}

func (s *services) reportNamespaces(now time.Time, to fact.Sink) error {
	var all []error
	for netns, n := range s.namespaces {
		read, err := s.read(netns, n)
		if err != nil {
			all = append(all, err)
			continue
		}
		grown := source.Namespace{Time: now.UnixNano(), Interval: now.Sub(n.since), NetNS: netns, Counters: n.counters.until(&read)}
		n.counters, n.since = read, now
		if grown.Counters != (counters{}) {
			to.NamespaceSeen(&grown)
		}
	}
	return errors.Join(all...)
}

// until returns what the counters have grown by, if that is known. One that went back belongs to
// another namespace with the same inode number.
func (c *counters) until(now *counters) (grown counters) {
	for i, value := range now {
		if c[i] != nil && value != nil && *value >= *c[i] {
			n := *value - *c[i]
			grown[i] = &n
		}
	}
	return grown
}
