// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// upgradeSeed is a connection that changes from HTTP/1 to HTTP/2.
func upgradeSeed() (seed []byte) {
	var asked, answered bytes.Buffer
	client, server := hpack.NewEncoder(&asked), hpack.NewEncoder(&answered)
	for i, data := range []string{
		upgradeRequest,
		upgradeAnswer + settings + frames(server, &answered, 1, "hello", ":status", "200"),
		frame.Preface + settings + frames(client, &asked, 3, "", ":method", "GET", ":path", "/two"),
		frames(server, &answered, 3, "hello", ":status", "200"),
	} {
		seed = binary.BigEndian.AppendUint16(append(seed, byte(i%2), 0), uint16(len(data)))
		seed = append(seed, data...)
	}
	return seed
}

// FuzzConnection feeds both directions of a connection. Each operation is a direction and
// flags, a shift of the sequence number, how much is sent, and the bytes: cuts, gaps,
// overlaps and bytes that came again follow from them.
func FuzzConnection(f *testing.F) {
	for i := range scripts {
		var seed []byte
		for _, step := range scripts[i].steps {
			d, fin, rst, data := scripts[i].flags(step)
			if len(data) > 60_000 {
				data = data[:60_000]
			}
			op := byte(d)
			if fin {
				op |= 2
			}
			if rst {
				op |= 4
			}
			seed = append(seed, op, 0)
			seed = binary.BigEndian.AppendUint16(seed, uint16(len(data)))
			seed = append(seed, data...)
		}
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Add(upgradeSeed(), true)
	f.Fuzz(func(t *testing.T, script []byte, begins bool) {
		const limit = 256 << 10
		var options Options
		options.MaxBytes = limit
		options.IdleTimeout = time.Second
		options.Ports = func(uint16) Port { return Port{RequestBody: 64, AnswerBody: 64, AnswerTail: 32} }
		w := newWire(options)
		w.begins = begins
		for len(script) >= 4 {
			op, shift := script[0], int8(script[1])
			n := min(int(binary.BigEndian.Uint16(script[2:])), len(script)-4)
			data := string(script[4 : 4+n])
			script = script[4+n:]
			d := stream.Direction(op & 1)
			if op&8 != 0 {
				w.drop = func(*stream.Segment) bool { return true }
			}
			w.sendAt(d, w.next[d]+uint32(int32(shift)), data, w.next[d.Reverse()]-uint32(op>>6), op&2 != 0, op&4 != 0)
			w.drop = nil
			if op&16 != 0 {
				w.now += int64(op>>5) * int64(time.Second)
				w.table.Sweep(w.now)
			}
			if held := w.table.pool.Lent() + w.table.pool.Held(); held < 0 || held > limit {
				t.Fatalf("%d bytes held of %d", held, limit)
			}
		}
		w.table.Finish()
		if held := w.table.pool.Lent() + w.table.pool.Held(); held != 0 {
			t.Fatalf("%d bytes not given back", held)
		}
		if active := w.table.active(); active != 0 {
			t.Fatalf("%d requests still active", active)
		}
		for i := range w.last {
			e := &w.last[i]
			for _, m := range []*request.Message{&e.Request, &e.Answer} {
				if m.BodyBytes < -1 || len(m.Body) > 64 || len(m.Tail) > 32 {
					t.Fatalf("body of %d bytes, %d kept, %d of its end", m.BodyBytes, len(m.Body), len(m.Tail))
				}
				if m.Ended != 0 && m.Ended < m.Began {
					t.Fatalf("ended %d before it began", m.Began-m.Ended)
				}
			}
		}
	})
}
