// SPDX-License-Identifier: Apache-2.0

package vector

import "time"

// Windows collects what records say about each source until its window ends. K tells sources
// apart, and A is what else the user keeps of a source. Memory is bounded by the number of sources, and the work for a record and for a window is
// constant. Windows is not safe for concurrent use.
type Windows[K comparable, A any] struct {
	length time.Duration
	limit  int
	open   map[K]*window[K, A]
	// first and last are the ends of a list in the order in which windows began, for that is the
	// order in which they end.
	first, last *window[K, A]
	lost        uint64
	habits      habits
}

type window[K comparable, A any] struct {
	key     K
	about   A
	begin   time.Time
	facts   Facts
	endings endings
	// lessons are what its connections teach, if the window was ordinary.
	lessons lessons
	// hasFacts is set by a record of tcp.server.source.
	hasFacts bool
	next     *window[K, A]
}

// Window is what a source did in a window that is over.
type Window[K comparable, A any] struct {
	Key        K
	About      A
	Begin, End time.Time
	Vector     Vector
	// Proven reports whether the source completed a handshake in the window: only then is its
	// address proven. Others can write any address into their packets.
	Proven bool
	// Ordinary is set by the caller of Expire. Only such a window teaches what connections to its
	// services are like.
	Ordinary bool
}

// NewWindows makes Windows of a length, for at most limit sources at one time, and for so many
// services in all.
func NewWindows[K comparable, A any](length time.Duration, limit, services int) *Windows[K, A] {
	return &Windows[K, A]{
		length: length, limit: limit, open: map[K]*window[K, A]{}, habits: newHabits(services),
	}
}

// Add adds a record of tcp.server.source. The first record of a source begins its window. It
// returns what the user keeps of the source; nil if there is no room for another source.
func (w *Windows[K, A]) Add(key K, now time.Time, facts *Facts) *A {
	to := w.of(key, now)
	if to == nil {
		return nil
	}
	to.facts.merge(facts)
	to.hasFacts = true
	return &to.about
}

// AddClosed adds a closed connection to a service.
func (w *Windows[K, A]) AddClosed(key K, now time.Time, service Service, closed *Closed) {
	if to := w.of(key, now); to != nil {
		to.endings.unlike.add(w.habits.rarity(service, closed, &to.lessons))
		to.endings.add(closed)
	}
}

// of returns the window of a source; nil if there is no room for another one.
func (w *Windows[K, A]) of(key K, now time.Time) *window[K, A] {
	if at := w.open[key]; at != nil {
		return at
	}
	if len(w.open) >= w.limit {
		w.lost++
		return nil
	}
	at := &window[K, A]{key: key, begin: now}
	w.open[key] = at
	if w.last == nil {
		w.first = at
	} else {
		w.last.next = at
	}
	w.last = at
	return at
}

// Expire ends the windows whose time is over, and calls ended for each of them that has a record
// of tcp.server.source. Closed connections alone make no vector.
func (w *Windows[K, A]) Expire(now time.Time, ended func(*Window[K, A])) {
	for w.first != nil && now.Sub(w.first.begin) >= w.length {
		at := w.first
		if w.first = at.next; w.first == nil {
			w.last = nil
		}
		delete(w.open, at.key)
		if at.hasFacts {
			over := Window[K, A]{
				Key: at.key, About: at.about, Begin: at.begin, End: at.begin.Add(w.length),
				Vector: at.vector(), Proven: at.facts.values[Completed] > 0,
			}
			if ended(&over); over.Ordinary {
				w.habits.learn(&at.lessons)
			}
		}
	}
}

func (w *window[K, A]) vector() Vector {
	var v Vector
	for f := range v {
		v[f] = features[f].evaluate(&w.facts, &w.endings)
	}
	return v
}

// Open is how many windows are open.
func (w *Windows[K, A]) Open() int { return len(w.open) }

// Displaced counts services whose connections are no longer known because others were new, by whether
// they were known well.
func (w *Windows[K, A]) Displaced() [2]uint64 { return w.habits.displaced() }

// Lost is how many records were left out because too many windows were open.
func (w *Windows[K, A]) Lost() uint64 { return w.lost }
