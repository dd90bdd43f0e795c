// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// Bounds of a request id. Short ones are counters, which are not unique.
const (
	minID = 8
	maxID = 64
)

// Upstream is what a client's record needs to know of the request that the gateway made.
type Upstream struct {
	// Connection is the id of the upstream request's connection, of the last attempt.
	Connection uint64
	// Port is the upstream server's.
	Port   uint16
	Status int
	// Began is the first byte of the first attempt, Ended the last byte of the last. Both
	// are Unix nanoseconds.
	Began, Ended int64
	// Busy is the sum of the attempts' durations in nanoseconds.
	Busy     int64
	Attempts int
	// Said is what the gateway told the upstream of its client, in the last attempt. It is
	// empty unless the gateway's own id ties the two: a client can't choose that. It is
	// valid until the next call of Hold.
	Said []Value
}

// Share is the gateway's own part of a client's request: what remains of its duration
// without the upstream's.
func (u *Upstream) Share(duration int64) int64 { return max(0, duration-u.Busy) }

// Tie finds the upstream request of a gateway's request by request id. The upstream request
// finishes first. Its figures wait in a bounded table until the client's request finishes,
// so no record is held back. It is not safe for concurrent use.
type Tie struct {
	names   []string
	limit   int
	timeout int64

	seed  maphash.Seed
	index map[uint64]int32
	slots []slot
	next  int

	figures Figures
}

type slot struct {
	Upstream
	id        [maxID]byte
	length    uint8
	name      uint8 // which of the names: two fields may have the same value
	ambiguous bool
	live      bool
	hash      uint64
	// kong is the hash of the id that Kong gave the request; 0 without one.
	kong   uint64
	stored int64
	// text is the memory of Said.
	text []byte
}

// maxSaid bounds each text of Said. Longer ones are left out.
const maxSaid = 256

// Figures count what became of upstream requests, by id.
type Figures struct {
	// Held wait in the table. Tied were found.
	Held, Tied uint64
	// Repeated are ids of a request that another of its ids tied.
	Repeated uint64
	// Retried are earlier attempts of a request.
	Retried uint64
	// Expired were never taken, for instance because the client's side is not inspected.
	// Displaced made room for later ones before their time.
	Expired, Displaced uint64
	// Ambiguous had an id that another request had as well. They are not tied.
	Ambiguous uint64
	// Ignored had an id that is too short or too long.
	Ignored uint64
}

// Sum is how many ids of upstream requests there were.
func (f *Figures) Sum() uint64 {
	return f.Held + f.Tied + f.Repeated + f.Retried + f.Expired + f.Displaced + f.Ambiguous + f.Ignored
}

// unique is the field whose value Kong makes, a different one for each request.
const unique = "x-kong-request-id"

// DefaultNames are the fields that may carry a request id, best first.
func DefaultNames() []string { return []string{unique, "x-request-id", "x-correlation-id"} }

// NewTie creates a table of at most limit requests. names are fields in lower case.
func NewTie(names []string, limit int, timeout time.Duration) *Tie {
	return &Tie{
		names: names, limit: max(1, limit), timeout: int64(timeout),
		seed: maphash.MakeSeed(), index: make(map[uint64]int32),
	}
}

// Figures returns the counts until now.
func (t *Tie) Figures() Figures { return t.figures }

// Hold remembers a finished upstream request under each id that it has. now is Unix
// nanoseconds. An exchange without id or duration is not held.
func (t *Tie) Hold(e *request.Exchange, now int64) {
	duration, known := e.Duration()
	if !known {
		return
	}
	u := Upstream{
		Connection: e.ID, Port: e.Server.Port(), Status: e.Status,
		Began: e.Request.Began, Ended: e.Answer.Ended, Busy: duration, Attempts: 1,
	}
	kong := t.kongOf(e.Request.Field(unique))
	for i, name := range t.names {
		if id := e.Request.Field(name); id != nil {
			if s := t.hold(id, uint8(i), &u, e, now); s != nil {
				s.kong = kong
			}
		}
	}
}

// kongOf is the hash of an id that Kong made; 0 without one.
func (t *Tie) kongOf(id []byte) uint64 {
	if len(id) == 0 {
		return 0
	}
	return max(1, maphash.Bytes(t.seed, id))
}

func (t *Tie) hold(id []byte, name uint8, u *Upstream, e *request.Exchange, now int64) *slot {
	if len(id) < minID || len(id) > maxID {
		t.figures.Ignored++
		return nil
	}
	s := t.find(id, name, now)
	if s == nil {
		s = t.put(id, name, u, now)
	} else if !s.merge(u, t.names[name] == unique, &t.figures) {
		return nil
	}
	if t.names[name] == unique {
		s.hear(e)
	}
	return s
}

// merge adds an attempt. Kong's own id tells that it tried again. An id that a client can
// choose may be that of another request. The first of them is counted when its time is over.
func (s *slot) merge(u *Upstream, retried bool, figures *Figures) bool {
	if s.ambiguous || !retried || u.Began < s.Ended {
		s.ambiguous = true
		figures.Ambiguous++
		return false
	}
	figures.Retried++
	began, busy, attempts, said := s.Began, s.Busy+u.Busy, s.Attempts+1, s.Said
	s.Upstream = *u
	s.Began, s.Busy, s.Attempts, s.Said = began, busy, attempts, said
	return true
}

// hear keeps what the gateway said to its upstream.
func (s *slot) hear(e *request.Exchange) {
	s.Said = AppendKong(s.Said[:0], e, UpstreamSide)
	s.Said = slices.DeleteFunc(s.Said, func(v Value) bool { return v.Field == RequestID || len(v.Text) > maxSaid })
	size := 0
	for i := range s.Said {
		size += len(s.Said[i].Text)
	}
	s.text = slices.Grow(s.text[:0], size)
	for i := range s.Said {
		if value := &s.Said[i]; value.Text != nil {
			begin := len(s.text)
			s.text = append(s.text, value.Text...)
			value.Text = s.text[begin:len(s.text):len(s.text)]
		}
	}
}

func (t *Tie) hash(id []byte, name uint8) uint64 {
	return maphash.Bytes(t.seed, id) + uint64(name)
}

// find returns the slot of an id that still counts.
func (t *Tie) find(id []byte, name uint8, now int64) *slot {
	i, found := t.index[t.hash(id, name)]
	if !found {
		return nil
	}
	s := &t.slots[i]
	if s.name != name || string(s.id[:s.length]) != string(id) {
		return nil
	}
	if now-s.stored > t.timeout {
		t.drop(s, &t.figures.Expired)
		return nil
	}
	return s
}

// put takes the oldest slot once all are in use.
func (t *Tie) put(id []byte, name uint8, u *Upstream, now int64) *slot {
	hash := t.hash(id, name)
	if other, taken := t.index[hash]; taken {
		t.drop(&t.slots[other], &t.figures.Displaced)
	}
	if len(t.slots) < t.limit && t.next == len(t.slots) {
		t.slots = append(t.slots, slot{})
	}
	s := &t.slots[t.next]
	if s.live {
		if now-s.stored > t.timeout {
			t.drop(s, &t.figures.Expired)
		} else {
			t.drop(s, &t.figures.Displaced)
		}
	}
	said, text := s.Said, s.text
	*s = slot{Upstream: *u, length: uint8(len(id)), name: name, live: true, hash: hash, stored: now, text: text}
	s.Said = said[:0]
	copy(s.id[:], id)
	t.index[hash] = int32(t.next)
	t.figures.Held++
	t.next++
	if t.next == t.limit {
		t.next = 0
	}
	return s
}

func (t *Tie) drop(s *slot, count *uint64) {
	delete(t.index, s.hash)
	s.live = false
	t.figures.Held--
	if s.ambiguous {
		count = &t.figures.Ambiguous
	}
	*count++
}

// Take finds the upstream request of a finished client's request, once. The upstream
// request must have begun meanwhile. It reports false if none is known for sure.
func (t *Tie) Take(e *request.Exchange, now int64) (Upstream, bool) {
	var taken Upstream
	found := false
	kong := t.kongOf(lastField(e.Answer.Fields(), unique))
	for i, name := range t.names {
		for side, id := range [...][]byte{lastField(e.Answer.Fields(), name), e.Request.Field(name)} {
			s := t.candidate(id, uint8(i), e, now)
			if s == nil || kong != 0 && s.kong != 0 && s.kong != kong {
				continue // a client chose another request's id
			}
			// Later names would find the same request again.
			if !found {
				taken, found = s.Upstream, true
				if side != 0 || name != unique {
					taken.Said = nil
				}
				t.drop(s, &t.figures.Tied)
			} else if s.Connection == taken.Connection && s.Ended == taken.Ended {
				t.drop(s, &t.figures.Repeated)
			}
		}
	}
	return taken, found
}

func (t *Tie) candidate(id []byte, name uint8, e *request.Exchange, now int64) *slot {
	if len(id) < minID || len(id) > maxID {
		return nil
	}
	s := t.find(id, name, now)
	if s == nil || s.ambiguous || e.Request.Began == 0 || s.Began < e.Request.Began || s.Began > e.Finished {
		return nil
	}
	return s
}

// lastField returns the value of the last field of a name. Gateways set theirs behind what
// they pass on.
func lastField(fields []request.Field, name string) []byte {
	for i := len(fields) - 1; i >= 0; i-- {
		if request.EqualFold(fields[i].Name, name) {
			return fields[i].Value
		}
	}
	return nil
}
