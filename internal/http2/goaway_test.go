// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"testing"

	h2 "golang.org/x/net/http2"
)

// TestGoAway: requests that the server refuses as it leaves are reported at once, those on their
// way to it as well, and all others go on.
func TestGoAway(t *testing.T) {
	everyCut(t, func(s *session) {
		for id := uint32(1); id < 9; id += 2 {
			s.request(id, true)
		}
		s.flush(toServer)
		s.answer(1, true)
		s.answer(7, false)
		_ = s.sides[1].WriteGoAway(1<<31-1, h2.ErrCodeNo, nil) // it will leave
		_ = s.sides[1].WriteGoAway(3, h2.ErrCodeNo, []byte("too many requests"))
		s.flush(toClient)
		s.request(9, true)
		s.flush(toServer)
		s.answer(3, true)
		_ = s.sides[1].WriteData(7, true, nil)
		s.flush(toClient)
	}, "GET /1 200", "GET /5 0 server_closed", "GET /9 0 server_closed", "GET /3 200", "GET /7 200")
}
