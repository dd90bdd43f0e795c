// SPDX-License-Identifier: Apache-2.0

// Package evidence decides which request and which answer of an HTTP/1 connection are a pair.
// It knows sequence numbers and times, and no bytes.
//
// # Order
//
// A wrong pair is worse than none. The order proves pairs while all messages of a connection
// were read from its beginning. It proves nothing after bytes were missed that could belong
// to a head, and on a connection that was joined: nobody knows how many requests wait.
//
// Acknowledgment numbers alone don't tell. A client that always has two requests under way
// and waits for an answer before it sends the next looks like one that waits for each
// answer: each request acknowledges all that the server sent, and each answer all that the
// client sent.
//
// # Silence
//
// So a connection must show that no request waits. It does if the server spoke last, nothing
// passed for a second, and then a request begins where the server had received everything,
// and acknowledges all that the server sent. From there the order proves pairs again. A
// client that was ever seen to pipeline does not get this chance.
//
// # Habit
//
// A client whose pairs the order proved, and that waited for each of 16 answers, is trusted to
// go on so after a hole. Its requests and answers must alternate: the request begins where
// the server had received everything, the answer where the request says, and it
// acknowledges the whole request. A hole in what the client sent ends the habit: it can hide
// the first two requests that did not wait.
package evidence

const (
	// silence is after how long without a segment no request waits, in nanoseconds.
	silence = 1_000_000_000
	// habit is after how many answers in a row a client is known to wait for each.
	habit = 16
)

// Evidence is what a connection has shown. Begin or Join makes it ready.
type Evidence struct {
	// proven: pairs follow from the order. waits: never two requests were under way.
	// counted: only the place where a request begins is in doubt, not how many there were.
	// anchored: the messages to the server are read from a place where one began.
	proven, waits, counted, anchored bool
	// hidden: requests may have passed unseen since from.
	hidden bool
	from   uint32
	// shown are the requests that were answered before the next one, up to habit.
	shown uint8
	// acked is what the last segment to the client acknowledged, unless that was an interim
	// answer; sent is the end of all that was sent to the client, and when the time of that.
	acked, sent uint32
	heard       bool
	answered    bool
	when        int64
}

// Begin is the evidence of a connection that is seen from its first byte on.
func Begin() Evidence { return Evidence{proven: true, waits: true, counted: true, anchored: true} }

// Join is the evidence of a connection that is older than its inspection.
func Join() Evidence { return Evidence{waits: true} }

// Proven reports whether pairs follow from the order.
func (e *Evidence) Proven() bool { return e.proven }

// Lost says that the number of messages is unknown from now on.
func (e *Evidence) Lost() { e.proven, e.counted = false, false }

// LostRequests says that it is unknown where requests begin. The last that may be known
// begins at a number.
func (e *Evidence) LostRequests(from uint32) {
	e.Lost()
	e.anchored = false
	if !e.hidden {
		e.hidden, e.from = true, from
	}
}

// Doubt says that what follows may not be the next request, though none was missed.
func (e *Evidence) Doubt() { e.proven = false }

// Pipelined says that a client does not wait for each answer.
func (e *Evidence) Pipelined() { e.waits = false }

// Sent says that the server has sent data up to a number, and what it acknowledged then.
func (e *Evidence) Sent(end, acknowledgment uint32, now int64, interim bool) {
	e.Passed(end, now)
	if !interim {
		e.acked, e.answered = acknowledgment, true
	}
}

// Passed says that the server has sent data up to a number. It ignores what has no time.
func (e *Evidence) Passed(end uint32, now int64) {
	if now == 0 {
		return
	}
	if !e.heard || int32(end-e.sent) > 0 {
		e.sent, e.heard = end, true
	}
	e.when = max(e.when, now)
}

// Request takes the beginning of a request. It reports whether a message can begin there:
// after another one, or where the server had received everything.
func (e *Evidence) Request(sequence, acknowledgment uint32, now int64, underWay bool) (anchored bool) {
	rests := e.answered && sequence == e.acked
	e.anchored = e.anchored || rests
	if e.hidden && rests {
		e.hidden = false
		if sequence != e.from {
			e.shown = 0
		}
	}
	if underWay && e.anchored {
		e.waits = false
	}
	if !e.proven && e.waits && rests && acknowledgment == e.sent && now-e.when >= silence {
		e.proven, e.counted, e.shown = true, true, 0
	}
	return e.anchored
}

// Allows reports whether TCP allows a pair that the order does not prove: an answer with the
// acknowledgment number of its first segment, to a request that ends at a number.
func (e *Evidence) Allows(acknowledgment, end uint32) bool {
	enough := uint8(habit)
	if e.counted {
		enough = 1
	}
	return e.waits && !e.hidden && e.shown >= enough && int32(acknowledgment-end) >= 0
}

// Paired says that a request got its answer.
func (e *Evidence) Paired() {
	if e.waits {
		e.shown = min(e.shown+1, habit)
	}
}
