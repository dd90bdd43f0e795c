// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connections is how many connections of each kind talk.
var connections = flag.Int("connections", 20, "connections of each kind in the simulation of pairs")

// decoy looks like a request or an answer with an identity that no pair has.
const (
	decoyRequest = "GET /decoy HTTP/1.1\r\nHost: a\r\n\r\n"
	decoyAnswer  = "HTTP/1.1 200 OK\r\nX-Id: other\r\nContent-Length: 0\r\n\r\n"
)

// talkers make messages whose answers repeat the request's identity.
type talkers struct {
	random *rand.Rand
	w      *wire
	// received is what the client has received, and what of the requests the server had when
	// it began to answer.
	received [2]uint32
	// asked, answered and got are counts of messages: the client has got that many answers.
	asked, answered, got int
	// waiting are the requests that are not answered, ends where answers under way end.
	waiting    []string
	askedUntil []uint32
	ends       []uint32
	// late is when a client begins to pipeline.
	late int
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

// send sends data in random segments, some again and some in another order. passed is called
// with the end of each that is in order.
func (k *talkers) send(d stream.Direction, data string, passed func(uint32)) {
	type part struct{ from, to int }
	var parts []part
	for at := 0; at < len(data); {
		end := at + 1 + k.random.IntN(len(data)-at)
		switch k.random.IntN(3) {
		case 0:
			if i := strings.Index(data[at+1:], "\r\n\r\n"); i >= 0 {
				end = at + 1 + i + 4
			}
		case 1:
			if k.random.IntN(2) == 0 {
				end = len(data)
			}
		}
		parts = append(parts, part{at, end})
		if k.random.IntN(8) == 0 {
			parts = append(parts, part{at, end})
		}
		at = end
	}
	// What the host sends passes in order, but two processors can record it in another.
	tidy := k.random.IntN(4) != 0 || d == stream.ToClient && k.random.IntN(8) != 0
	if !tidy {
		k.random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	}
	base := k.w.next[d]
	for _, p := range parts {
		k.w.sendAt(d, base+uint32(p.from), data[p.from:p.to], k.acknowledges(d), false, false)
		if passed != nil && tidy {
			passed(base + uint32(p.to))
		}
	}
}

// acknowledges is what a segment acknowledges. The server's can cross with a request.
func (k *talkers) acknowledges(d stream.Direction) uint32 {
	if d == stream.ToClient && k.random.IntN(8) != 0 {
		return k.w.next[stream.ToServer]
	}
	return k.received[d.Reverse()]
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
		require.NotEqual(t, request.ProblemMalformedAnswer, e.Problem, "%s: %v", what, w.got)
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

// client says how many requests may be under way. It is called when some may be sent.
type client func(k *talkers) int

// clients are kinds of them, of a depth.
var clients = map[string]func(depth int) client{
	// window sends one more for each answer.
	"window": func(depth int) client { return func(*talkers) int { return depth } },
	// burst sends some, and waits for all answers.
	"burst": func(depth int) client {
		return func(k *talkers) int {
			if k.asked == k.got {
				return depth
			}
			return 0
		}
	},
	// random sends another number each time.
	"random": func(depth int) client {
		return func(k *talkers) int {
			if k.asked == k.got {
				return 1 + k.random.IntN(depth)
			}
			return 0
		}
	},
	// late waits for each of some answers, and then does not.
	"late": func(depth int) client {
		return func(k *talkers) int {
			if k.asked < k.late {
				return 1
			}
			return depth
		}
	},
}

// messages of a connection are more than what makes a habit.
const messages = 48

// talk has one connection talk to its end.
func (k *talkers) talk(may client) {
	k.received = k.w.next
	for k.answered < messages {
		k.ask(may)
		if k.answered < k.asked {
			k.serve(may)
		}
		if k.random.IntN(2) == 0 || k.asked == k.answered {
			k.receive(k.w.next[stream.ToClient])
		}
		// Silence while a request waits is shorter than that of a client.
		k.w.now += int64(k.random.IntN(900)) * int64(time.Millisecond) * int64(k.random.IntN(2))
		if k.asked == k.got && k.random.IntN(12) == 0 {
			k.w.now += int64(2 * time.Second)
		}
	}
	k.w.table.Finish()
}

// ask sends the requests that the client may send, some in one segment.
func (k *talkers) ask(may client) {
	n := min(may(k)-(k.asked-k.got), messages-k.asked)
	for n > 0 {
		var text strings.Builder
		for range 1 + k.random.IntN(n) {
			k.waiting = append(k.waiting, k.request(k.asked))
			text.WriteString(k.waiting[len(k.waiting)-1])
			k.askedUntil = append(k.askedUntil, k.w.next[stream.ToServer]+uint32(text.Len()))
			k.asked++
			n--
		}
		k.send(stream.ToServer, text.String(), nil)
	}
}

// serve answers some requests in one piece. The client can receive parts of it, and go on.
func (k *talkers) serve(may client) {
	var text strings.Builder
	base := k.w.next[stream.ToClient]
	for range 1 + k.random.IntN(k.asked-k.answered) {
		text.WriteString(k.answer(k.waiting[0], k.answered))
		k.received[stream.ToServer] = k.askedUntil[0]
		k.waiting, k.askedUntil = k.waiting[1:], k.askedUntil[1:]
		k.answered++
		k.ends = append(k.ends, base+uint32(text.Len()))
	}
	k.send(stream.ToClient, text.String(), func(to uint32) {
		if k.random.IntN(4) == 0 {
			k.receive(to)
			k.ask(may)
		}
	})
}

// receive takes what the server sent, up to a number.
func (k *talkers) receive(to uint32) {
	k.received[stream.ToClient] = to
	for len(k.ends) > 0 && !stream.Before(to, k.ends[0]) {
		k.ends = k.ends[1:]
		k.got++
	}
}

// weather loses records.
var weather = map[string]func(random *rand.Rand) func(*stream.Segment) bool{
	"nothing lost": func(*rand.Rand) func(*stream.Segment) bool { return nil },
	"a third lost": func(random *rand.Rand) func(*stream.Segment) bool {
		return func(*stream.Segment) bool { return random.IntN(3) == 0 }
	},
	"some lost": func(random *rand.Rand) func(*stream.Segment) bool {
		return func(*stream.Segment) bool { return random.IntN(30) == 0 }
	},
	"few lost": func(random *rand.Rand) func(*stream.Segment) bool {
		return func(*stream.Segment) bool { return random.IntN(150) == 0 }
	},
	"requests lost": func(random *rand.Rand) func(*stream.Segment) bool {
		return func(s *stream.Segment) bool { return s.Direction == stream.ToServer && random.IntN(30) == 0 }
	},
	"answers lost": func(random *rand.Rand) func(*stream.Segment) bool {
		return func(s *stream.Segment) bool { return s.Direction == stream.ToClient && random.IntN(30) == 0 }
	},
	"many in a row lost": func(random *rand.Rand) func(*stream.Segment) bool {
		left := 0
		return func(*stream.Segment) bool {
			if left--; left < 0 && random.IntN(60) == 0 {
				left = random.IntN(12)
			}
			return left >= 0
		}
	},
}

// converse has one connection talk.
func converse(seed uint64, may client, drop func(*rand.Rand) func(*stream.Segment) bool, begins bool) *wire {
	random := rand.New(rand.NewPCG(seed, 7))
	w := newWire(Options{})
	w.begins = begins
	w.drop = drop(random)
	k := &talkers{random: random, w: w, late: random.IntN(32)}
	k.talk(may)
	return w
}

// TestNoWrongPair has clients of all kinds talk, and loses records of them. None gets a wrong
// pair, and a client that waits for each answer gets its pairs again soon.
func TestNoWrongPair(t *testing.T) {
	for kind, of := range clients {
		for _, depth := range []int{1, 2, 3, 5, 16} {
			if depth == 1 && kind != "window" {
				continue
			}
			for name, drop := range weather {
				for _, begins := range []bool{true, false} {
					what := fmt.Sprintf("%s %d, %s, begins %v", kind, depth, name, begins)
					pairs := 0
					for seed := range uint64(*connections) {
						w := converse(seed, of(depth), drop, begins)
						pairs += check(t, w, fmt.Sprintf("%s, seed %d", what, seed))
						require.Zero(t, w.table.pool.Lent(), what)
						require.Zero(t, w.table.active(), what)
					}
					t.Logf("%5.1f %% paired: %s", 100*float64(pairs)/float64(messages**connections), what)
					if name == "nothing lost" && begins {
						require.Equal(t, messages**connections, pairs, what)
					}
					if depth == 1 && name != "a third lost" {
						assert.Greater(t, pairs, messages**connections/8, what)
					}
				}
			}
		}
	}
}

// TestJoined: nothing is paired before the connection has shown that no request waits.
func TestJoined(t *testing.T) {
	w := newWire(Options{})
	w.begins = false
	w.send(stream.ToClient, "HTTP/1.1 200 OK\r\nX-Id: 0\r\nContent-Length: 0\r\n\r\n")
	for _, id := range []string{"1", "2", "3", "4"} {
		if id == "3" {
			w.now += int64(time.Second)
		}
		w.send(stream.ToServer, "GET /"+id+" HTTP/1.1\r\n\r\n")
		w.send(stream.ToClient, "HTTP/1.1 200 OK\r\nX-Id: "+id+"\r\nContent-Length: 0\r\n\r\n")
	}
	w.table.Finish()
	check(t, w, "joined")
	w.wants(t, "- 200 request_not_seen", "GET /1 0 packets_missed", "- 200 request_not_seen",
		"GET /2 0 packets_missed", "- 200 request_not_seen", "GET /3 200", "GET /4 200")
}

// TestFirstByteMissed: a head without its first byte is none.
func TestFirstByteMissed(t *testing.T) {
	for _, d := range []stream.Direction{stream.ToServer, stream.ToClient} {
		w := newWire(Options{})
		w.drop = func(s *stream.Segment) bool { return s.Direction == d && len(s.Data) == 1 }
		w.send(stream.ToServer, "G")
		w.send(stream.ToServer, get("/")[3:])
		w.send(stream.ToClient, "H")
		w.send(stream.ToServer, get("/2")[2:])
		w.send(stream.ToClient, ok[3:])
		w.table.Finish()
		for i := range w.last {
			e := &w.last[i]
			assert.Equal(t, request.ProblemMissed, e.Problem, "%v", w.got)
			if method := string(e.Method); method != "" {
				assert.Equal(t, "GET", method)
			}
		}
	}
}

// TestFINMissed: what its acknowledgment hides is no hole.
func TestFINMissed(t *testing.T) {
	w := newWire(Options{})
	w.send(stream.ToServer, get("/")[2:])
	w.drop = func(s *stream.Segment) bool { return s.FIN }
	w.fin(stream.ToServer)
	w.send(stream.ToClient, ok[2:])
	w.wants(t, "GET / 200 0/2")
	assert.Zero(t, w.table.Figures().Gaps)
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

// TestHabitEndsInAHole: a client that waited for each answer may pipeline for the first time in
// a hole, with smaller requests.
func TestHabitEndsInAHole(t *testing.T) {
	w := newWire(Options{})
	ask := func(i, size int) string {
		return fmt.Sprintf("GET /%d HTTP/1.1\r\nX: %s\r\n\r\n", i, strings.Repeat("x", size))
	}
	answer := func(i int) string { return fmt.Sprintf("HTTP/1.1 2%02d OK\r\nContent-Length: 2\r\n\r\nok", i) }
	for i := 20; i < 40; i++ {
		w.send(0, ask(i, 400))
		w.send(1, answer(i))
	}
	w.next[0] += uint32(len(ask(40, 50) + ask(41, 50)))
	w.send(1, answer(40))
	w.send(0, ask(42, 400))
	w.send(1, answer(41))
	w.send(1, answer(42))
	assert.NotContains(t, w.got, "GET /42 241 0/2")
}
