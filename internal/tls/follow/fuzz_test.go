// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"crypto/tls"
	"encoding/binary"
	"testing"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	seen "github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// FuzzHandshake feeds both directions of a connection. Each operation is a direction and
// flags, a shift of the sequence number, how much is sent, and the bytes: cuts, gaps,
// overlaps and bytes that came again follow from them. The committed inputs are conversations
// of Go's client and server.
func FuzzHandshake(f *testing.F) {
	for _, joined := range []bool{false, true} {
		f.Add(script(talk(f, trusting(f, tls.VersionTLS13)), 700), joined)
	}
	f.Fuzz(func(t *testing.T, script []byte, joined bool) {
		w := newWire()
		w.joined = joined
		for len(script) >= 4 && !w.over {
			op, shift := script[0], int8(script[1])
			n := min(int(binary.BigEndian.Uint16(script[2:])), len(script)-4)
			data := script[4 : 4+n]
			script = script[4+n:]
			d := stream.Direction(op & 1)
			sequence := w.next[d] + uint32(int32(shift))
			if op&8 == 0 { // else it is lost
				w.segment(stream.Segment{Direction: d, Sequence: sequence, Data: data, FIN: op&2 != 0, RST: op&4 != 0})
			}
			if end := sequence + uint32(n); stream.Before(w.next[d], end) {
				w.next[d] = end
			}
			if op&16 != 0 && w.conn != nil && !w.over {
				w.now += int64(op>>5) * 10 * int64(time.Second)
				if w.over = w.conn.Sweep(w.now, w.now-int64(20*time.Second)); w.over {
					w.conn.End()
				}
			}
			if held := w.pool.Lent(); held < 0 || held > limit {
				t.Fatalf("%d bytes held of %d", held, limit)
			}
		}
		w.close(t)
		check(t, w.got)
	})
}

// script is a conversation as operations.
func script(all []said, size int) (ops []byte) {
	for _, one := range all {
		for data := one.data; len(data) > 0; {
			n := min(size, len(data))
			ops = append(ops, byte(one.from), 0)
			ops = binary.BigEndian.AppendUint16(ops, uint16(n))
			ops = append(ops, data[:n]...)
			data = data[n:]
		}
		if one.fin {
			ops = append(ops, byte(one.from)|2, 0, 0, 0)
		}
	}
	return ops
}

func check(t *testing.T, got []report) {
	if len(got) > 1 {
		t.Fatalf("%d handshakes on one connection", len(got))
	}
	for i := range got {
		h := &got[i]
		failed := h.Outcome > seen.OutcomeCompleted
		switch {
		case failed != (h.ErrorType() != ""):
			t.Fatalf("outcome %d, error type %q", h.Outcome, h.ErrorType())
		case h.Outcome == seen.OutcomeAlert && !h.Alerted:
			t.Fatal("an alert that nobody sent")
		case h.Outcome == seen.OutcomeCompleted && h.Answered == 0:
			t.Fatal("completed without an answer")
		case h.Ended < h.Began, h.Answered != 0 && h.Answered < h.Began:
			t.Fatalf("began %d, answered %d, ended %d", h.Began, h.Answered, h.Ended)
		}
	}
}
