// SPDX-License-Identifier: Apache-2.0

package stream

// What protocols have in common.
const (
	// MaxAhead is how far ahead a sequence number can be wanted.
	MaxAhead = 1 << 30
	// TellEvery is after how many bytes the kernel side learns how far a direction was read.
	TellEvery = 8 << 10
	// HoleTime is how long bytes may be late, in nanoseconds.
	HoleTime = 10 * 1_000_000_000
)

// Reader reads both directions of a connection in order.
type Reader interface {
	// Read takes bytes that follow those before them, and sets Next behind them.
	Read(d Direction, chunk Chunk)
	// Gap handles bytes before a number that nobody will see, and sets Next to it.
	Gap(d Direction, to uint32)
}

// Side is one direction of a connection that a protocol follows.
type Side struct {
	Half
	// Told is from where on the kernel side knows that bytes are wanted.
	Told uint32
	// Fin is the number of the FIN, which passed at FinTime, if HasFin is set.
	Fin     uint32
	FinTime int64
	HasFin  bool
	// counted is what of Overlapped was counted.
	counted uint32
}

// StartAt says which byte comes first.
func (s *Side) StartAt(seq uint32) {
	s.Start(seq)
	s.Told = seq
}

// Take reads a chunk, and what came too early and follows it. If the chunk exceeds a bound,
// the missing bytes before the first one that waits are given up. It reports false if bytes of the
// chunk were neither read nor kept all the same: they are lost, and nothing waits for them.
func (s *Side) Take(pool *Pool, r Reader, d Direction, c *Chunk) bool {
	next, ok, full := s.Push(pool, c)
	if ok {
		r.Read(d, next)
	}
	s.readOn(pool, r, d)
	if !full {
		return true
	}
	s.GiveUpFirst(pool, r, d)
	if next, ok, full = s.Push(pool, c); ok {
		r.Read(d, next)
		s.readOn(pool, r, d)
	}
	return !full
}

// ReadOn reads what came too early and follows now.
func (s *Side) ReadOn(pool *Pool, r Reader, d Direction) { s.readOn(pool, r, d) }

// readOn reads what came too early and follows now.
func (s *Side) readOn(pool *Pool, r Reader, d Direction) {
	for {
		chunk, ok := s.Pop(pool)
		if !ok {
			return
		}
		r.Read(d, chunk)
	}
}

// GiveUpFirst gives up waiting for the bytes before the first chunk that waits.
func (s *Side) GiveUpFirst(pool *Pool, r Reader, d Direction) {
	if w, ok := s.Waiting(); ok {
		s.GiveUp(pool, r, d, w.Sequence)
		s.readOn(pool, r, d)
	}
}

// GiveUp gives up what is missing before a number.
func (s *Side) GiveUp(pool *Pool, r Reader, d Direction, to uint32) {
	for Before(s.Next, to) {
		target := to
		if w, ok := s.Waiting(); ok && Before(w.Sequence, to) {
			target = w.Sequence
		}
		if Before(s.Next, target) {
			r.Gap(d, target)
		}
		s.readOn(pool, r, d)
	}
}

// GiveUpLate gives up waiting for bytes that are late.
func (s *Side) GiveUpLate(pool *Pool, r Reader, d Direction, now int64) {
	if w, ok := s.Waiting(); ok && now-w.Time > HoleTime {
		s.GiveUpFirst(pool, r, d)
	}
}

// Drain reads all that waits for bytes that never come.
func (s *Side) Drain(pool *Pool, r Reader, d Direction) {
	for _, waits := s.Waiting(); waits; _, waits = s.Waiting() {
		s.GiveUpFirst(pool, r, d)
	}
}

// Arrived is up to which byte an acknowledgment number says that all have arrived. What
// arrived has passed here, so what was not seen of it never comes.
func (s *Side) Arrived(ack uint32) uint32 {
	if s.HasFin && ack == s.Fin+1 {
		return s.Fin
	}
	return ack
}

// Close takes the FIN of a segment. It reports whether that is the first one.
func (s *Side) Close(seg *Segment) bool {
	if !seg.FIN || s.HasFin {
		return false
	}
	s.HasFin, s.Fin, s.FinTime = true, seg.Sequence+uint32(len(seg.Data))+seg.Left, seg.Time
	return true
}

// AtFin reports whether all bytes before the FIN were read or given up.
func (s *Side) AtFin() bool { return s.HasFin && s.Known && !Before(s.Next, s.Fin) }

// Tell tells the kernel side from which byte on a direction is wanted.
func (s *Side) Tell(o *Options, key *Key, d Direction) {
	s.Told = s.Next
	o.Want(key, d, s.Next)
}

// CountOverlaps adds bytes that came again with another content.
func (s *Side) CountOverlaps(f *Figures) {
	f.Overlapped += uint64(s.Overlapped - s.counted)
	s.counted = s.Overlapped
}
