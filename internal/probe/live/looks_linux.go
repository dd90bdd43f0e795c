// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package live

import (
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// Options configure Looks.
type Options struct {
	// Mask has the halves of the mask of a source's IPv6 prefix, in network byte order.
	Mask [2]uint64
	// Clients and Services say what somebody wants to know.
	Clients, Services bool
	// SilentAge is from which age on a connection without an answer is silent; 0 means
	// source.SilentAge.
	SilentAge time.Duration
}

// Looks is for one goroutine at a time. The methods of a nil Looks do nothing, except Due.
type Looks struct {
	options Options
	// began is when the look under way or the last one began, boot the same on the boot clock.
	// before is the boot clock's time of the look before; 0 if there was none.
	began        time.Time
	boot, before uint64
	// rest is until when nobody looks only for these figures.
	rest time.Time
	// fresh is set from a look until its figures are used.
	fresh bool

	// received has the bytes of each connection as of the last look, former of the one before.
	received, former map[uint64]uint64
	clients          map[shared.SourceKey]*client
	silent           map[silentPort]int64
	services         map[shared.PortKey]*Service
	// free are clients to use again.
	free []*client
}

type client struct {
	source.Live
	// added are the bytes that its connections received since the look before.
	added uint64
}

// silentPort is a local port with silent connections of a client.
type silentPort struct {
	client shared.SourceKey
	port   uint16
}

// New makes Looks that know nothing yet.
func New(o Options) *Looks {
	if o.SilentAge == 0 {
		o.SilentAge = source.SilentAge
	}
	return &Looks{
		options:  o,
		received: make(map[uint64]uint64),
		former:   make(map[uint64]uint64),
		clients:  make(map[shared.SourceKey]*client),
		silent:   make(map[silentPort]int64),
		services: make(map[shared.PortKey]*Service),
	}
}

// restFor is how many times the duration of a look nobody looks again only for these figures.
// So they take at most a fiftieth of a CPU.
const restFor = 49

// Due reports whether it is time to look: nobody has looked since the figures were used, and the
// last look is long enough ago for what it took.
func (l *Looks) Due(now time.Time) bool { return l != nil && !l.fresh && !now.Before(l.rest) }

// Begin begins a look, at a time of the wall clock and of the boot clock.
func (l *Looks) Begin(now time.Time, boot uint64) {
	if l == nil {
		return
	}
	l.before, l.boot, l.began = l.boot, boot, now
	l.received, l.former = l.former, l.received
	clear(l.received)
	for _, c := range l.clients {
		l.free = append(l.free, c)
	}
	clear(l.clients)
	clear(l.silent)
	for _, s := range l.services {
		s.Open, s.Answered, s.Unread = 0, 0, false
	}
}

// Take takes one look at a connection. It does not keep it.
func (l *Looks) Take(r *shared.LiveRecord) {
	if l == nil {
		return
	}
	outcome := shared.LookOutcome(r.Look.Outcome)
	if outcome != shared.LookOutcomeRead && outcome != shared.LookOutcomeUnread {
		return // its end is under way
	}
	if l.options.Services {
		l.service(&r.Connection).look(&r.Look, &r.Connection, l.before)
	}
	if l.options.Clients {
		l.look(&r.Look, &r.Connection)
	}
}

func (l *Looks) look(r *shared.ConnectionLook, connection *shared.Connection) {
	key := shared.SourceKeyOf(&connection.Flow.Remote, connection.Netns, &l.options.Mask)
	c := l.clients[key]
	if c == nil {
		c = l.newClient()
		l.clients[key] = c
	}
	c.Open++
	if r.Outcome == uint32(shared.LookOutcomeUnread) {
		c.Unread = true
		return
	}
	c.added += l.added(r, connection)
	held := r.TxBytes == 0 && connection.Flags&uint32(shared.ConnectionFlagServerFin) == 0
	if !held || l.boot < connection.Opened+uint64(l.options.SilentAge) {
		return
	}
	c.Silent++
	if r.RxBytes == 0 {
		return
	}
	at := silentPort{key, connection.Flow.LocalPort}
	n := l.silent[at] + 1
	l.silent[at] = n
	if n > c.PortSilent {
		c.Port, c.PortSilent = at.port, n
	}
}

func (l *Looks) newClient() *client {
	n := len(l.free)
	if n == 0 {
		return new(client)
	}
	c := l.free[n-1]
	l.free = l.free[:n-1]
	*c = client{}
	return c
}

// added is what a connection has received since the look before. What it had received when it
// was found is not known to be new.
func (l *Looks) added(r *shared.ConnectionLook, connection *shared.Connection) uint64 {
	l.received[r.Id] = r.RxBytes
	former, known := l.former[r.Id]
	switch {
	case known:
		return r.RxBytes - min(former, r.RxBytes)
	case connection.Opened > l.before && connection.Flags&uint32(shared.ConnectionFlagAdopted) == 0:
		return r.RxBytes
	default:
		return 0
	}
}

// End ends a look. One that failed leaves no figures.
func (l *Looks) End(now time.Time, err error) {
	if l == nil {
		return
	}
	l.rest = now.Add(restFor * now.Sub(l.began))
	l.fresh = err == nil
	if err != nil {
		l.boot, l.received, l.former = l.before, l.former, l.received
		clear(l.clients)
		return
	}
	seconds := time.Duration(l.boot - l.before).Seconds()
	for _, c := range l.clients {
		c.ReceiveRate = -1
		if l.before != 0 && seconds > 0 {
			c.ReceiveRate = float64(c.added) / seconds
		}
	}
}

// Spend says that the figures were used. The next look has others.
func (l *Looks) Spend() {
	if l != nil {
		l.fresh = false
	}
}

// Holds reports whether a client had open connections when somebody looked last.
func (l *Looks) Holds(key *shared.SourceKey) bool {
	return l != nil && len(l.clients) > 0 && l.clients[*key] != nil
}

// Client returns what the open connections of a client say, until the next look; nil if it has
// none, or if nobody has looked since the figures were used.
func (l *Looks) Client(key *shared.SourceKey) *source.Live {
	if l == nil || !l.fresh || len(l.clients) == 0 {
		return nil
	}
	if c := l.clients[*key]; c != nil {
		return &c.Live
	}
	return nil
}

// Clients passes each client with at least so many open connections, as Client does.
func (l *Looks) Clients(open int64, visit func(*shared.SourceKey, *source.Live)) {
	if l == nil || !l.fresh {
		return
	}
	for key, c := range l.clients {
		if c.Open >= open {
			visit(&key, &c.Live)
		}
	}
}
