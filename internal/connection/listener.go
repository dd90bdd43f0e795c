// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
)

// Listener is one listening socket.
type Listener struct {
	// Socket identifies the listener. It is the socket's kernel address, and is never
	// dereferenced.
	Socket uint64
	NetNS  uint32
	// Address is unspecified if the socket listens on every address.
	Address netip.AddrPort
	Owner   owner.Ref
}

// DefaultListenerMemory is how long an ended listener is remembered by default.
const DefaultListenerMemory = 5 * time.Minute

// ListenerOptions configure Listeners.
type ListenerOptions struct {
	// Max bounds the listening sockets. The same number of ended ones is
	// remembered.
	Max int
	// Memory is how long an ended listener is remembered, because connections
	// outlive their listener. 0 means DefaultListenerMemory.
	Memory time.Duration
	// Now replaces the clock in tests; nil means time.Now.
	Now func() time.Time
}

// Listeners knows which sockets listen where. It is not safe for concurrent use.
type Listeners struct {
	options ListenerOptions
	sockets map[uint64]*Listener
	places  map[place]*listening
	ports   map[portKey]*portUse
	ended   endedQueue
	// queues are the last readings of sockets.
	queues map[uint64]Queues
}

// place is where a socket listens.
type place struct {
	netns   uint32
	address netip.AddrPort
}

type portKey struct {
	netns  uint32
	number uint16
}

// listening are the sockets of one place, or of one port.
type listening struct {
	// live are in the order in which they were added. SO_REUSEPORT allows several.
	live []*Listener
	// last is the one that ended last, at the time ended; nil if none did.
	last  *Listener
	ended time.Time
}

// portUse are the sockets of a port, whatever their address.
type portUse struct {
	listening
	// places is how many places of the port are known.
	places int
}

// NewListeners creates an empty table.
func NewListeners(options ListenerOptions) *Listeners {
	if options.Memory <= 0 {
		options.Memory = DefaultListenerMemory
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Listeners{
		options: options,
		sockets: make(map[uint64]*Listener),
		places:  make(map[place]*listening),
		ports:   make(map[portKey]*portUse),
		queues:  make(map[uint64]Queues),
	}
}

// Add copies a listener into the table. Adding a socket again is harmless: of two owners
// the more reliable one stays. It returns false if the table is full.
func (l *Listeners) Add(added *Listener) bool {
	l.forget(l.options.Now())
	at := placeOf(added)
	if known, ok := l.sockets[added.Socket]; ok {
		if placeOf(known) == at {
			if added.Owner.Source >= known.Owner.Source {
				known.Owner = added.Owner
			}
			return true
		}
		// The end of the earlier socket was missed, and the kernel reused its address.
		l.Remove(added.Socket)
	}
	if len(l.sockets) >= l.options.Max {
		return false
	}
	listener := *added
	listener.Address = at.address
	l.sockets[listener.Socket] = &listener
	group := l.places[at]
	if group == nil {
		group = &listening{}
		l.places[at] = group
		l.use(at).places++
	}
	group.live = append(group.live, &listener)
	use := l.use(at)
	use.live = append(use.live, &listener)
	return true
}

// Remove records that a listener ended, and remembers it for a while. An unknown
// socket is ignored.
func (l *Listeners) Remove(socket uint64) {
	now := l.options.Now()
	l.forget(now)
	listener, ok := l.sockets[socket]
	if !ok {
		return
	}
	delete(l.sockets, socket)
	delete(l.queues, socket)
	at := placeOf(listener)
	l.places[at].end(listener, now)
	l.use(at).end(listener, now)
	l.ended.push(endedPlace{at, now})
}

func (g *listening) end(listener *Listener, now time.Time) {
	g.live = slices.DeleteFunc(g.live, func(other *Listener) bool { return other == listener })
	g.last, g.ended = listener, now
}

// Lookup returns the listener of a connection to server. It prefers the exact address to
// every address, live listeners to ended ones, and later to earlier. The caller must not
// change the result. Lookup allocates nothing.
func (l *Listeners) Lookup(netns uint32, server netip.AddrPort) (*Listener, bool) {
	server = plain(server)
	number := server.Port()
	exact := l.places[place{netns, server}]
	var anyV4 *listening
	if server.Addr().Is4() {
		anyV4 = l.places[place{netns, netip.AddrPortFrom(netip.IPv4Unspecified(), number)}]
	}
	// An IPv6 socket also takes IPv4, unless it is set to IPv6 only.
	anyV6 := l.places[place{netns, netip.AddrPortFrom(netip.IPv6Unspecified(), number)}]
	groups := [...]*listening{exact, anyV4, anyV6}
	for _, group := range groups {
		if group != nil && len(group.live) > 0 {
			return group.live[len(group.live)-1], true
		}
	}
	for _, group := range groups {
		if group != nil && l.remembers(group) {
			return group.last, true
		}
	}
	return nil, false
}

// ByPort returns the listener of a port if the address is unknown: the latest live one,
// else the one that ended last. The caller must not change the result. ByPort allocates
// nothing.
func (l *Listeners) ByPort(netns uint32, number uint16) (*Listener, bool) {
	use := l.ports[portKey{netns, number}]
	switch {
	case use == nil:
		return nil, false
	case len(use.live) > 0:
		return use.live[len(use.live)-1], true
	case l.remembers(&use.listening):
		return use.last, true
	default:
		return nil, false
	}
}

// All yields the listeners that have not ended. The caller must not change them.
func (l *Listeners) All() iter.Seq[*Listener] { return maps.Values(l.sockets) }

func (l *Listeners) remembers(group *listening) bool {
	return group.last != nil && l.options.Now().Sub(group.ended) < l.options.Memory
}

// forget drops the ended listeners that are too old or too many.
func (l *Listeners) forget(now time.Time) {
	for l.ended.len() > 0 {
		oldest := l.ended.first()
		if l.ended.len() <= l.options.Max && now.Sub(oldest.time) < l.options.Memory {
			return
		}
		l.ended.pop()
		group := l.places[oldest.place]
		if group == nil || !group.ended.Equal(oldest.time) {
			// A later end of the same place is still in the queue.
			continue
		}
		if use := l.use(oldest.place); use.last == group.last {
			use.last = nil
		}
		group.last = nil
		if len(group.live) == 0 {
			l.drop(oldest.place)
		}
	}
}

func (l *Listeners) drop(at place) {
	delete(l.places, at)
	use := l.use(at)
	use.places--
	if use.places == 0 {
		delete(l.ports, portKey{at.netns, at.address.Port()})
	}
}

func (l *Listeners) use(at place) *portUse {
	key := portKey{at.netns, at.address.Port()}
	use := l.ports[key]
	if use == nil {
		use = &portUse{}
		l.ports[key] = use
	}
	return use
}

func placeOf(l *Listener) place { return place{l.NetNS, plain(l.Address)} }

// plain makes addresses comparable. IPv4 on an IPv6 socket becomes IPv4. The zone is
// dropped, because the namespace and port are enough.
func plain(address netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(address.Addr().Unmap().WithZone(""), address.Port())
}

// endedPlace is one end of a listener.
type endedPlace struct {
	place
	time time.Time
}

// endedQueue is in order of time.
type endedQueue struct {
	items []endedPlace
	head  int
}

func (q *endedQueue) len() int { return len(q.items) - q.head }

func (q *endedQueue) first() *endedPlace { return &q.items[q.head] }

func (q *endedQueue) push(item endedPlace) {
	// Move the rest when half of the space is used, so that the cost is constant on average.
	if q.head > 0 && q.head >= len(q.items)/2 {
		q.items = q.items[:copy(q.items, q.items[q.head:])]
		q.head = 0
	}
	q.items = append(q.items, item)
}

func (q *endedQueue) pop() { q.head++ }
