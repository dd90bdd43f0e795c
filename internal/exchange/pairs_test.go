// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// decoy looks like a request or an answer with an identity that no pair has.
const (
	decoyRequest = "GET /decoy HTTP/1.1\r\nHost: a\r\n\r\n"
	decoyAnswer  = "HTTP/1.1 200 OK\r\nX-Id: other\r\nContent-Length: 0\r\n\r\n"
)

// talkers make messages whose answers repeat the request's identity.
type talkers struct {
	random *rand.Rand
	w      *wire
	// received is what each side has received of the other.
	received [2]uint32
}

func (k *talkers) request(id int) string {
	switch k.random.IntN(5) {
	case 0:
		body := strings.Repeat(decoyRequest, 1+k.random.IntN(3))
		return fmt.Sprintf("POST /%d HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s", id, len(body), body)
	case 1:
		return fmt.Sprintf("POST /%d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", id, len(decoyRequest), decoyRequest)
	case 2:
		return fmt.Sprintf("HEAD /%d HTTP/1.1\r\n\r\n", id)
	default:
		return fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", id)
	}
}

func (k *talkers) answer(asked string, id int) string {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Id: %d\r\n", id)
	n := k.random.IntN(4)
	switch {
	case strings.HasPrefix(asked, "HEAD"):
		return head + "Content-Length: 500\r\n\r\n"
	case n == 0:
		return head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(decoyAnswer), decoyAnswer)
	case n == 1:
		body := strings.Repeat(decoyAnswer, 1+k.random.IntN(3))
		return head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	case n == 2:
		return fmt.Sprintf("HTTP/1.1 204 No\r\nX-Id: %d\r\n\r\n", id)
	default:
		return head + "Content-Length: 2\r\n\r\nok"
	}
}

// send sends data in random segments, some again and some in another order. ack gives what
// each acknowledges.
func (k *talkers) send(d stream.Direction, data string, ack func() uint32, untidy bool) {
	type part struct{ from, to int }
	var parts []part
	for at := 0; at < len(data); {
		end := at + 1 + k.random.IntN(len(data)-at)
		if k.random.IntN(3) == 0 {
			if i := strings.Index(data[at+1:], "\r\n\r\n"); i >= 0 {
				end = at + 1 + i + 4
			}
		}
		parts = append(parts, part{at, end})
		if untidy && k.random.IntN(8) == 0 {
			parts = append(parts, part{at, end})
		}
		at = end
	}
	if untidy && k.random.IntN(4) == 0 {
		k.random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	}
	base := k.w.next[d]
	for _, p := range parts {
		k.w.sendAt(d, base+uint32(p.from), data[p.from:p.to], ack(), false, false)
	}
}

// check fails on a wrong pair, and on a message that was reported twice.
func check(t *testing.T, w *wire, what string) (pairs int) {
	t.Helper()
	answered := map[string]int{}
	for i := range w.last {
		e := &w.last[i]
		id := strings.TrimPrefix(string(e.Target), "/")
		got := string(e.Answer.Field("x-id"))
		if got != "" {
			answered[got]++
		}
		if len(e.Method) > 0 && e.Status != 0 {
			pairs++
			require.Equal(t, id, got, "wrong pair, %s: %v", what, w.got)
		}
	}
	for id, n := range answered {
		if id != "other" {
			require.LessOrEqual(t, n, 1, "answer %s twice, %s: %v", id, what, w.got)
		}
	}
	return pairs
}

// converse has one connection talk. depth is how many requests can be under way.
func converse(seed uint64, depth, lose int, begins bool) *wire {
	random := rand.New(rand.NewPCG(seed, 7))
	w := newWire(Options{})
	w.begins = begins
	if lose > 0 {
		w.drop = func(*stream.Segment) bool { return random.IntN(lose) == 0 }
	}
	k := &talkers{random: random, w: w}
	var waiting []string
	first := 0
	k.received = w.next
	for id := 0; id < 24; {
		for n := 1 + random.IntN(depth); n > 0 && id < 24; n-- {
			asked := k.request(id)
			k.send(stream.ToServer, asked, func() uint32 { return k.received[stream.ToClient] }, true)
			waiting = append(waiting, asked)
			id++
		}
		k.received[stream.ToServer] = w.next[stream.ToServer]
		for answers := 1 + random.IntN(depth); len(waiting) > 0 && (answers > 0 || depth == 1 || id == 24); answers-- {
			k.send(stream.ToClient, k.answer(waiting[0], first), func() uint32 { return k.received[stream.ToServer] }, true)
			waiting = waiting[1:]
			first++
			if depth == 1 || random.IntN(2) == 0 {
				k.received[stream.ToClient] = w.next[stream.ToClient]
			}
		}
	}
	w.table.Finish()
	return w
}

// TestNoWrongPair: a client that alternates gets no wrong pair, whatever is lost, nor does one
// that pipelines and was seen from its beginning.
func TestNoWrongPair(t *testing.T) {
	for _, c := range []struct {
		depth, lose int
		begins      bool
	}{
		{1, 0, true},
		{1, 3, true},
		{1, 10, true},
		{1, 40, true},
		{1, 0, false},
		{1, 3, false},
		{1, 10, false},
		{1, 40, false},
		{2, 0, true},
		{5, 0, true},
	} {
		t.Run(fmt.Sprintf("depth %d, one of %d lost, begins %v", c.depth, c.lose, c.begins), func(t *testing.T) {
			pairs := 0
			for seed := range uint64(200) {
				w := converse(seed, c.depth, c.lose, c.begins)
				n := check(t, w, fmt.Sprintf("seed %d", seed))
				if c.lose == 0 && c.begins {
					require.Equal(t, 24, n, "seed %d", seed)
				}
				require.Zero(t, w.table.pool.Lent())
				require.Zero(t, w.table.Figures().Active)
				pairs += n
			}
			assert.NotZero(t, pairs)
		})
	}
}

// TestJoined: nothing is paired before the connection has shown that it alternates.
func TestJoined(t *testing.T) {
	w := newWire(Options{})
	w.begins = false
	w.send(stream.ToClient, "HTTP/1.1 200 OK\r\nX-Id: 0\r\nContent-Length: 0\r\n\r\n")
	for _, id := range []string{"1", "2", "3"} {
		w.send(stream.ToServer, "GET /"+id+" HTTP/1.1\r\n\r\n")
		w.send(stream.ToClient, "HTTP/1.1 200 OK\r\nX-Id: "+id+"\r\nContent-Length: 0\r\n\r\n")
	}
	w.table.Finish()
	check(t, w, "joined")
	require.NotEmpty(t, w.last)
	assert.Equal(t, request.ProblemNoRequest, w.last[0].Problem)
	assert.Equal(t, "3", string(w.last[len(w.last)-1].Answer.Field("x-id")))
	assert.Equal(t, request.ProblemNone, w.last[len(w.last)-1].Problem)
}

// TestHoleInABody of a known length hides no head.
func TestHoleInABody(t *testing.T) {
	w := newWire(Options{})
	w.send(stream.ToServer, "POST /1 HTTP/1.1\r\nContent-Length: 30\r\n\r\n")
	w.drop = func(*stream.Segment) bool { return true }
	w.send(stream.ToServer, strings.Repeat("x", 30))
	w.drop = nil
	w.send(stream.ToClient, ok[2:])
	w.send(stream.ToServer, get("/2")[2:])
	w.send(stream.ToClient, ok[2:])
	w.table.Finish()
	w.wants(t, "POST /1 200 30/2", "GET /2 200 0/2")
}
