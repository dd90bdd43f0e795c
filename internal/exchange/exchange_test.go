// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// step is what one side sends. "C:" and "S:" are data, "CF", "SF", "CR" and "SR" are the
// flags.
type script struct {
	name    string
	steps   []string
	want    []string
	options Options
	// whole: only as it is.
	whole bool
}

func get(path string) string { return "C:GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }

const ok = "S:HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

var scripts = []script{
	{name: "one", steps: []string{get("/"), ok}, want: []string{"GET / 200 0/2"}},
	{name: "keep-alive", steps: []string{get("/1"), ok, get("/2"), ok}, want: []string{"GET /1 200 0/2", "GET /2 200 0/2"}},
	{
		name:  "pipelined",
		steps: []string{get("/1") + get("/2")[2:] + get("/3")[2:], ok + ok[2:], ok},
		want:  []string{"GET /1 200 0/2", "GET /2 200 0/2", "GET /3 200 0/2"},
	},
	{name: "bare line feeds", steps: []string{"C:GET / HTTP/1.1\nHost: a\n\n", "S:HTTP/1.1 200 OK\nContent-Length: 1\n\nx"}, want: []string{"GET / 200 0/1"}},
	{name: "line breaks first", steps: []string{"C:\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\n", ok, "C:\nGET /2 HTTP/1.1\r\n\r\n", ok}, want: []string{"GET / 200 0/2", "GET /2 200 0/2"}},
	{
		name: "chunks both ways",
		steps: []string{
			"C:POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
			"S:HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n", get("/2"), ok,
		},
		want: []string{"POST / 200 3/11", "GET /2 200 0/2"},
	},
	{
		name:  "continue",
		steps: []string{"C:POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", "S:HTTP/1.1 100 Continue\r\n\r\n", "C:abc", "S:HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", ok, get("/2"), ok},
		want:  []string{"POST / 200 3/2", "GET /2 200 0/2"},
	},
	{
		name:  "expectation refused",
		whole: true,
		steps: []string{"C:POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 300\r\n\r\n", "S:HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n", get("/2"), ok},
		want:  []string{"POST / 417 -1/0", "GET /2 200 0/2"},
	},
	{name: "HEAD", steps: []string{"C:HEAD / HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", get("/2"), ok}, want: []string{"HEAD / 200", "GET /2 200 0/2"}},
	{name: "204 and 304", steps: []string{get("/1"), "S:HTTP/1.1 204 No\r\n\r\n", get("/2"), "S:HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", get("/3"), ok}, want: []string{"GET /1 204", "GET /2 304", "GET /3 200 0/2"}},
	{name: "until close", steps: []string{"C:GET / HTTP/1.0\r\n\r\n", "S:HTTP/1.0 200 OK\r\n\r\nabc", "S:def", "SF", "CF"}, want: []string{"GET / 200 0/6"}},
	{name: "until reset", steps: []string{"C:GET / HTTP/1.0\r\n\r\n", "S:HTTP/1.0 200 OK\r\n\r\nabc", "SR"}, want: []string{"GET / 200 0/-1 answer_cut"}},
	{name: "CONNECT", steps: []string{"C:CONNECT a:443 HTTP/1.1\r\n\r\n", "S:HTTP/1.1 200 OK\r\n\r\n", get("/no"), ok}, want: []string{"CONNECT a:443 200 switched"}},
	{name: "CONNECT refused", steps: []string{"C:CONNECT a:443 HTTP/1.1\r\n\r\n", "S:HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", get("/2"), ok}, want: []string{"CONNECT a:443 403 0/2", "GET /2 200 0/2"}},
	{name: "upgrade", steps: []string{"C:GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "S:HTTP/1.1 101 Switching\r\n\r\n\x81\x00", get("/no")}, want: []string{"GET /ws 101 switched"}},
	{
		name:  "answer before the request's end",
		steps: []string{"C:POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", "S:HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", "C:defghi", get("/2"), ok},
		want:  []string{"POST / 413 -1/0", "GET /2 200 0/2"},
	},
	{name: "garbage", steps: []string{"C:\x16\x03\x01\x00\xa5\x01", "S:HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n<html>", "SF", "CF"}, want: []string{"- 400 0/6 malformed_request"}},
	{name: "several heads of garbage", steps: []string{"C:a\n\nb: c\n\n/ / /\n\n", "S:HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", "SF", "CF"}, want: []string{"- 400 malformed_request"}},
	{name: "garbage unanswered", steps: []string{"C:a\n\n", "CF", "SF"}, want: []string{"- 0 malformed_request"}},
	{name: "without version", steps: []string{"C:GET /\n", "S:<html>", "S:abc", "SF"}, want: []string{"GET / 0 0/9"}},
	{name: "without version, with a head", steps: []string{"C:GET /\r\n", "S:HTTP/1.0 200 OK\r\n\r\nabc", "SF"}, want: []string{"GET / 200 0/3"}},
	{name: "without version, fields follow", steps: []string{"C:GET /HTTP/1.1\nHost: a\n\n", "S:HTTP/1.0 400 Bad\r\nContent-Length: 1\r\n\r\nx"}, want: []string{"GET /HTTP/1.1 400 0/1"}},
	{name: "without target", steps: []string{"C:OPTIONS HTTP/1.1\n\n", ok}, want: []string{"OPTIONS  200 0/2"}},
	{name: "PROXY v1", steps: []string{"C:PROXY TCP4 198.51.100.9 192.0.2.1 5555 80\r\nGET / HTTP/1.1\r\n\r\n", ok}, want: []string{"GET / 200 0/2"}},
	{name: "PROXY v2", steps: []string{"C:\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x09\xc0\x00\x02\x01\x15\xb3\x00\x50GET / HTTP/1.1\r\n\r\n", ok}, want: []string{"GET / 200 0/2"}},
	{name: "cut by the server", steps: []string{get("/"), "S:HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "SF", "CF"}, want: []string{"GET / 200 0/3 answer_cut"}},
	{name: "chunks cut", steps: []string{get("/"), "S:HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "SF", "CF"}, want: []string{"GET / 200 0/3 answer_cut"}},
	{name: "both framings", steps: []string{"C:POST / HTTP/1.1\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", ok, get("/2"), ok}, want: []string{"POST / 200 1/2", "GET /2 200 0/2"}},
	{name: "two lengths", steps: []string{"C:POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "S:HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"}, want: []string{"POST / 400 malformed_request"}},
	{name: "client closes", steps: []string{get("/"), "CF", "SF"}, want: []string{"GET / 0 client_closed"}},
	{name: "client closes its half", steps: []string{get("/"), "CF", ok, "SF"}, want: []string{"GET / 200 0/2"}},
	{name: "server closes", steps: []string{get("/1"), ok, get("/2"), "SF", "CF"}, want: []string{"GET /1 200 0/2", "GET /2 0 server_closed"}},
	{name: "client resets", steps: []string{get("/"), "CR"}, want: []string{"GET / 0 client_reset"}},
	{name: "server resets", steps: []string{get("/"), "SR"}, want: []string{"GET / 0 server_reset"}},
	{name: "unasked", steps: []string{get("/"), ok, "S:HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n", "SF", "CF"}, want: []string{"GET / 200 0/2", "- 408 request_not_seen"}},
	{name: "malformed answer", steps: []string{get("/"), "S:garbage\r\n\r\n", "SF", "CF"}, want: []string{"GET / 0 malformed_answer"}},
	{name: "incomplete head, answered", steps: []string{"C:GET / HTTP/1.1\r\nHost: a\r\n", "S:HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n", "SF", "CF"}, want: []string{"GET / 408 cut"}},
	{
		name:  "large head",
		steps: []string{"C:POST / HTTP/1.1\r\n", "C:" + strings.Repeat("X-Filler: 0123456789\r\n", 3000), "C:Content-Le", "C:ngth: 3\r\n" + strings.Repeat("X-Filler: 0123456789\r\n", 300) + "\r\nabc", ok, get("/2"), ok},
		want:  []string{"POST / 200 3/2 cut", "GET /2 200 0/2"},
	},
}

func (s *script) flags(step string) (d stream.Direction, fin, rst bool, data string) {
	if step[0] == 'S' {
		d = stream.ToClient
	}
	if step[1] == ':' {
		return d, false, false, step[2:]
	}
	return d, step[1] == 'F', step[1] == 'R', ""
}

// run sends a script, cut into segments.
func (s *script) run(w *wire, cut func(d stream.Direction, data string) []string) {
	for _, step := range s.steps {
		d, fin, rst, data := s.flags(step)
		switch {
		case fin:
			w.fin(d)
		case rst:
			w.rst(d)
		default:
			for _, part := range cut(d, data) {
				w.send(d, part)
			}
		}
	}
}

func whole(_ stream.Direction, data string) []string { return []string{data} }

func TestScripts(t *testing.T) {
	for _, s := range scripts {
		t.Run(s.name, func(t *testing.T) {
			w := newWire(s.options)
			s.run(w, whole)
			w.table.Finish()
			w.wants(t, s.want...)
			assert.Zero(t, w.table.pool.Lent())
			assert.Zero(t, w.table.active())
		})
	}
}

func TestScriptsByteByByte(t *testing.T) {
	for _, s := range scripts {
		if s.whole {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			w := newWire(s.options)
			s.run(w, func(_ stream.Direction, data string) []string { return strings.Split(data, "") })
			w.table.Finish()
			w.wants(t, s.want...)
			assert.Zero(t, w.table.pool.Lent())
		})
	}
}

// TestScriptsCut cuts every script at every byte into two segments.
func TestScriptsCut(t *testing.T) {
	for _, s := range scripts {
		if s.whole {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			for at := 1; at < 400; at++ {
				w := newWire(s.options)
				seen := 0
				s.run(w, func(_ stream.Direction, data string) []string {
					before := seen
					seen += len(data)
					if before < at && at < seen {
						return []string{data[:at-before], data[at-before:]}
					}
					return []string{data}
				})
				w.table.Finish()
				w.wants(t, s.want...)
				require.False(t, t.Failed(), "cut at %d", at)
			}
		})
	}
}

// TestScriptsShuffled sends the segments of each message in a random order, some twice.
func TestScriptsShuffled(t *testing.T) {
	for _, s := range scripts {
		if s.whole {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			for seed := range uint64(200) {
				random := rand.New(rand.NewPCG(seed, 1))
				w := newWire(s.options)
				for _, step := range s.steps {
					d, fin, rst, data := s.flags(step)
					switch {
					case fin:
						w.fin(d)
					case rst:
						w.rst(d)
					default:
						shuffled(w, random, d, data)
					}
				}
				w.table.Finish()
				w.wants(t, s.want...)
				require.False(t, t.Failed(), "seed %d", seed)
			}
		})
	}
}

func shuffled(w *wire, random *rand.Rand, d stream.Direction, data string) {
	type part struct{ from, to int }
	var parts []part
	for at := 0; at < len(data); {
		n := 1 + random.IntN(max(len(data)/2, 1))
		end := min(at+n, len(data))
		parts = append(parts, part{max(0, at-random.IntN(3)), end})
		if random.IntN(4) == 0 {
			parts = append(parts, part{at, end})
		}
		at = end
	}
	// The kernel side copies nothing that is further ahead than its window.
	if len(data) <= 32<<10 {
		random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	}
	base, ack := w.next[d], w.next[d.Reverse()]
	for _, p := range parts {
		w.sendAt(d, base+uint32(p.from), data[p.from:p.to], ack, false, false)
	}
}

// TestAnswerEndsBeforeItsLengthIsTold: the body follows its head at once, so the kernel side
// copies it, too. The time of its last byte counts.
func TestAnswerEndsBeforeItsLengthIsTold(t *testing.T) {
	var got []request.Exchange
	table := New(Options{MaxConnections: 10, MaxBytes: 1 << 20, Report: func(e *request.Exchange) { got = append(got, *e) }})
	on := request.Connection{Flow: flow.Flow{
		Client: netip.MustParseAddrPort("10.0.0.2:50000"), Server: netip.MustParseAddrPort("10.0.0.1:8000"),
	}}
	const asked, answered = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
	send := func(d stream.Direction, seq, ack uint32, data string, when int64) {
		table.Segment(&on, &stream.Segment{
			Direction: d, Sequence: seq, Acknowledgment: ack, Data: []byte(data), Time: when, Begins: when == 1, Retransmits: -1,
		})
	}
	const first, end = 1000 + uint32(len(asked)), 5000 + uint32(len(answered))
	send(stream.ToServer, 1000, 5000, asked, 1)
	send(stream.ToClient, 5000, first, answered, 2)
	send(stream.ToClient, end, first, "abc", 3)
	send(stream.ToClient, end+3, first, "def", 4)
	require.Len(t, got, 1)
	assert.EqualValues(t, 4, got[0].Answer.Ended)
}
