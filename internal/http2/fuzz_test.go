// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// FuzzConnection feeds bytes as segments of both directions, with gaps and overlaps.
// The first bytes of each piece say direction, size and position.
func FuzzConnection(f *testing.F) {
	s := newSession()
	s.sides[0].WriteString(frame.Preface)
	s.request(1, false)
	_ = s.sides[0].WriteData(1, true, []byte("body"))
	f.Add(s.sides[0].Bytes(), []byte{0, 200}, true)
	s.answer(1, false)
	_ = s.sides[1].WriteData(1, true, []byte("body"))
	f.Add(s.sides[1].Bytes(), []byte{1, 20, 3, 7}, false)
	f.Add(append(s.sides[0].Bytes(), s.sides[1].Bytes()...), []byte{0, 90, 5, 100}, true)
	f.Fuzz(func(t *testing.T, data, cuts []byte, begins bool) {
		s := newSession()
		on, next := s.on, s.sent
		for i := 0; len(data) > 0 && i < 2000; i++ {
			how, size := byte(0), byte(100)
			if len(cuts) > 1 {
				how, size = cuts[2*i%(len(cuts)-1)], cuts[2*i%(len(cuts)-1)+1]
			}
			d := stream.Direction(how & 1)
			n := min(len(data), int(size)+1)
			segment := stream.Segment{
				Direction: d, Sequence: next[d] + uint32(int32(int8(how&0xfc))), Acknowledgment: next[d.Reverse()],
				Data: data[:n], Time: int64(i), Begins: begins && (d == toServer || how&2 != 0), Frames: how&2 != 0, First: s.sent[0], Retransmits: -1, FIN: how == 0xff, Number: how >> 3, More: how&4 != 0,
			}
			data, next[d] = data[n:], segment.Sequence+uint32(n)
			if s.conn == nil {
				s.conn = s.engine.Begin(&on, &segment)
			}
			if s.conn.Segment(&on, &segment) || how&0x80 != 0 && s.conn.Sweep(int64(i), int64(i)+1) {
				s.end()
			}
		}
		s.end()
		require.Zero(t, s.pool.Lent())
		require.Zero(t, s.engine.port(80).active)
	})
}
