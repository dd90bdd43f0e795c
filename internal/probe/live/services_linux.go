// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package live

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Service is what connections say of a local port.
type Service struct {
	// Open are connections at the last look, Answered those that the server has sent bytes to.
	// Unread is set if that is not known.
	Open, Answered uint64
	Unread         bool
	// Closed are connections that ended since the figures were used, ClosedAnswered those that
	// the server had sent bytes to.
	Closed, ClosedAnswered uint64

	accepted waits
}

// waits is a sample of times in the accept queue.
type waits struct {
	seen   int
	sample []int64
}

// sampled is how many times are kept. Of more, each has the same chance.
const sampled = 128

func (w *waits) add(wait int64) {
	w.seen++
	if len(w.sample) < sampled {
		w.sample = append(w.sample, wait)
	} else if at := rand.IntN(w.seen); at < sampled {
		w.sample[at] = wait
	}
}

func (w *waits) reset() { w.seen, w.sample = 0, w.sample[:0] }

// Accept is the median time in the accept queue of connections that were accepted since the
// figures were used; 0 if none was, or nobody can tell. It sorts the sample.
func (s *Service) Accept() time.Duration {
	if len(s.accepted.sample) == 0 {
		return 0
	}
	slices.Sort(s.accepted.sample)
	return time.Duration(s.accepted.sample[len(s.accepted.sample)/2])
}

// accept takes a connection's time in the accept queue, if it was accepted after some time.
func (s *Service) accept(connection *shared.Connection, after uint64) {
	adopted := connection.Flags&uint32(shared.ConnectionFlagAdopted) != 0
	if !adopted && connection.Accepted > max(connection.Opened, after) {
		s.accepted.add(int64(connection.Accepted - connection.Opened))
	}
}

func (s *Service) look(r *shared.ConnectionLook, connection *shared.Connection, before uint64) {
	s.Open++
	if r.Outcome == uint32(shared.LookOutcomeUnread) {
		s.Unread = true
	} else if r.TxBytes > 0 {
		s.Answered++
	}
	s.accept(connection, before)
}

func (l *Looks) service(connection *shared.Connection) *Service {
	key := shared.PortKey{Netns: connection.Netns, Port: uint32(connection.Flow.LocalPort)}
	s := l.services[key]
	if s == nil {
		s = new(Service)
		l.services[key] = s
	}
	return s
}

// Closed takes a connection that ended. A look has taken the time in the accept queue of one that
// was accepted before.
func (l *Looks) Closed(r *shared.CloseRecord) {
	if l == nil || !l.options.Services {
		return
	}
	s := l.service(&r.Connection)
	s.Closed++
	if r.Counters.TxBytes > 0 {
		s.ClosedAnswered++
	}
	s.accept(&r.Connection, l.boot)
}

// Service returns what is known of a local port; open is false if open connections
// were not read since the figures were used.
func (l *Looks) Service(key shared.PortKey) (s Service, open bool) {
	if l == nil {
		return s, false
	}
	if known := l.services[key]; known != nil {
		s = *known
	}
	return s, l.fresh
}

// SpendServices says that the figures of services were used, and forgets those without an open
// connection.
func (l *Looks) SpendServices() {
	if l == nil {
		return
	}
	for key, s := range l.services {
		if s.Open == 0 {
			delete(l.services, key)
			continue
		}
		s.Closed, s.ClosedAnswered = 0, 0
		s.accepted.reset()
	}
}
