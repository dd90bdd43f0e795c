// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"slices"
	"unsafe"
)

const (
	// maxQueued and maxPieces bound what one direction keeps out of order.
	maxQueued = 128 << 10
	maxPieces = 256
	// pieceSize is what the list of pieces takes for each of them: it grows by doubling.
	pieceSize = 2*int(unsafe.Sizeof(Chunk{})) + 16
)

// Chunk is a run of bytes in order. It is valid until the next call of its Half.
type Chunk struct {
	// Sequence is the number of the first byte of Data.
	Sequence uint32
	// Acknowledgment, Time and Skipped are those of the segment.
	Acknowledgment, Skipped uint32
	Time                    int64
	Data                    []byte
}

// End is the number of the byte after the chunk.
func (c *Chunk) End() uint32 { return c.Sequence + uint32(len(c.Data)) }

// Half is one direction of a connection: it says which bytes come next, and keeps those
// that came too early. The first byte seen of each number wins.
type Half struct {
	// Next is the number of the byte that comes next, if Known.
	Next  uint32
	Known bool
	// Overlapped counts bytes that came again with another content.
	Overlapped uint32
	// early is what came too early; nil on most connections.
	early *early
}

// early are chunks that wait for bytes before them.
type early struct {
	queue  []Chunk
	queued int
	// last is the chunk that Pop returned: its buffer goes back with the next call.
	last []byte
}

// waiting are the chunks that wait.
func (h *Half) waiting() []Chunk {
	if h.early == nil {
		return nil
	}
	return h.early.queue
}

// Start says which byte comes first.
func (h *Half) Start(seq uint32) { h.Next, h.Known = seq, true }

// SkipTo says that bytes before seq are not wanted.
func (h *Half) SkipTo(pool *Pool, seq uint32) {
	if Before(h.Next, seq) {
		h.Next = seq
		h.trim(pool)
	}
}

// Push takes a chunk. It returns what of it comes next, and reports whether there is any.
// What comes too early is kept; full is true if it exceeds a bound and was not.
func (h *Half) Push(pool *Pool, c *Chunk) (next Chunk, ok, full bool) {
	h.release(pool)
	next = *c
	if old := h.Next - next.Sequence; int32(old) > 0 {
		if int64(old) >= int64(len(next.Data)) {
			return Chunk{}, false, false
		}
		next.Data = next.Data[old:]
		next.Sequence += old
		next.Skipped += old
	}
	if next.Sequence != h.Next {
		return Chunk{}, false, !h.keep(pool, &next)
	}
	if queue := h.waiting(); len(queue) > 0 {
		if n := int64(queue[0].Sequence - next.Sequence); n < int64(len(next.Data)) {
			// What came before wins. Pop returns it, and what follows.
			rest := next
			rest.Data, rest.Sequence = next.Data[n:], next.Sequence+uint32(n)
			full = !h.keep(pool, &rest)
			next.Data = next.Data[:n]
		}
	}
	return next, true, full
}

// compare counts the bytes of data that differ from what a piece has.
func (h *Half) compare(piece *Chunk, seq uint32, data []byte) {
	h.Overlapped += uint32(Differences(piece.Sequence, piece.Data, seq, data))
}

// Differences counts the bytes that two runs give differently where they overlap.
func Differences(seqA uint32, a []byte, seqB uint32, b []byte) (n int) {
	if d := int64(int32(seqB - seqA)); d >= 0 {
		if d >= int64(len(a)) {
			return 0
		}
		a = a[d:]
	} else {
		if -d >= int64(len(b)) {
			return 0
		}
		b = b[-d:]
	}
	size := min(len(a), len(b))
	a, b = a[:size], b[:size]
	if bytes.Equal(a, b) {
		return 0
	}
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// keep queues what of a chunk is not there yet, in order. It reports false at a bound.
func (h *Half) keep(pool *Pool, c *Chunk) bool {
	seq, data := c.Sequence, c.Data
	for at := 0; len(data) > 0; at++ {
		queue := h.waiting()
		for at < len(queue) && !Before(seq, queue[at].End()) {
			at++
		}
		free := len(data)
		if at < len(queue) {
			free = min(free, max(0, int(int32(queue[at].Sequence-seq))))
		}
		if free > 0 {
			piece := *c
			piece.Sequence, piece.Data = seq, data[:free]
			if !h.insert(pool, at, &piece) {
				return false
			}
			seq, data = seq+uint32(free), data[free:]
			continue
		}
		h.compare(&queue[at], seq, data)
		have := min(len(data), int(queue[at].End()-seq))
		seq, data = seq+uint32(have), data[have:]
	}
	return true
}

func (h *Half) insert(pool *Pool, at int, c *Chunk) bool {
	e := h.early
	if e == nil {
		e = &early{}
	}
	if len(e.queue) >= maxPieces || e.queued+len(c.Data) > maxQueued || !pool.Reserve(pieceSize) {
		return false
	}
	data, ok := pool.Append(nil, c.Data)
	if !ok {
		pool.Release(pieceSize)
		return false
	}
	piece := *c
	piece.Data = data
	e.queue = slices.Insert(e.queue, at, piece)
	e.queued += len(data)
	h.early = e
	return true
}

// Pop returns the next chunk of those that came too early, if it is its turn.
func (h *Half) Pop(pool *Pool) (Chunk, bool) {
	if h.early == nil {
		return Chunk{}, false
	}
	h.release(pool)
	h.trim(pool)
	queue := h.waiting()
	if len(queue) == 0 || queue[0].Sequence != h.Next {
		return Chunk{}, false
	}
	c := queue[0]
	h.early.last = c.Data
	h.remove()
	pool.Release(pieceSize)
	return c, true
}

// Waiting returns the first chunk that waits for bytes before it.
func (h *Half) Waiting() (*Chunk, bool) {
	queue := h.waiting()
	if len(queue) == 0 {
		return nil, false
	}
	return &queue[0], true
}

// trim drops what came too early and is not wanted any more.
func (h *Half) trim(pool *Pool) {
	for queue := h.waiting(); len(queue) > 0 && Before(queue[0].Sequence, h.Next); queue = h.waiting() {
		first := &queue[0]
		old := h.Next - first.Sequence
		if int64(old) >= int64(len(first.Data)) {
			pool.Put(first.Data)
			pool.Release(pieceSize)
			h.remove()
			continue
		}
		// The buffer stays whole, so that its size is known when it goes back.
		n := copy(first.Data, first.Data[old:])
		first.Data = first.Data[:n]
		first.Sequence += old
		first.Skipped += old
		h.early.queued -= int(old)
	}
}

func (h *Half) remove() {
	e := h.early
	e.queued -= len(e.queue[0].Data)
	e.queue = slices.Delete(e.queue, 0, 1)
}

// release gives back the chunk that Pop returned. Without others, nothing is kept.
func (h *Half) release(pool *Pool) {
	e := h.early
	if e == nil {
		return
	}
	if e.last != nil {
		pool.Put(e.last)
		e.last = nil
	}
	if len(e.queue) == 0 {
		h.early = nil
	}
}

// Drop forgets all that is kept.
func (h *Half) Drop(pool *Pool) {
	h.release(pool)
	for _, piece := range h.waiting() {
		pool.Put(piece.Data)
		pool.Release(pieceSize)
	}
	h.early = nil
}
