// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSuperPacketOfHeads(t *testing.T) {
	w := newWire(Options{})
	var heads, answers strings.Builder
	var want []string
	for i := range 16 {
		fmt.Fprintf(&heads, "GET /%d HTTP/1.1\r\nX: %s\r\n\r\n", i, strings.Repeat("y", 1000))
		answers.WriteString(ok[2:])
		want = append(want, fmt.Sprintf("GET /%d 200 0/2", i))
	}
	require.Greater(t, heads.Len(), DefaultHeadBytes)
	w.send(stream.ToServer, heads.String())
	w.send(stream.ToClient, answers.String())
	w.wants(t, want...)
}

func TestHostileHeads(t *testing.T) {
	for name, head := range map[string]string{
		"10k fields": strings.Repeat("X: y\r\n", 10_000),
		"1 MiB":      "X: " + strings.Repeat("y", 1<<20) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(Options{})
			text := "GET /1 HTTP/1.1\r\n" + head + "\r\n"
			for len(text) > 0 {
				n := min(len(text), 16<<10)
				w.send(stream.ToServer, text[:n])
				text = text[n:]
				require.Less(t, w.table.pool.Lent(), 64<<10)
			}
			w.send(stream.ToClient, ok[2:])
			w.send(stream.ToServer, get("/2")[2:])
			w.send(stream.ToClient, ok[2:])
			w.wants(t, "GET /1 200 0/2 cut", "GET /2 200 0/2")
		})
	}
}

func TestChunkExtensions(t *testing.T) {
	w := newWire(Options{})
	w.send(stream.ToServer, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;"+strings.Repeat("e", 8<<10)+"\r\nx\r\n0\r\nT: v\r\n\r\n")
	w.send(stream.ToClient, ok[2:])
	require.Len(t, w.last, 1)
	assert.Equal(t, "v", string(w.last[0].Request.Trailers[0].Value))
	w.wants(t, "POST / 200 1/2")
}

// TestHalfHeads: no number of heads that never end exceeds the budget.
func TestHalfHeads(t *testing.T) {
	const limit = 8 << 20
	var lost [Losses]int
	reported := 0
	options := Options{MaxConnections: 100_000, MaxBytes: limit, Report: func(*request.Exchange) { reported++ }}
	options.Lost = func(reason Loss, n int) { lost[reason] += n }
	table := New(options)
	data := []byte("GET / HTTP/1.1\r\nX: " + strings.Repeat("y", 500))
	for i := range 100_000 {
		on := request.Connection{Flow: flow.Flow{
			Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 5000),
			Server: netip.MustParseAddrPort("192.0.2.1:80"),
		}}
		table.Segment(&on, &stream.Segment{Sequence: 1, Acknowledgment: 1, Data: data, Time: int64(i + 1), Begins: true, First: 1, Retransmits: -1})
		require.LessOrEqual(t, table.pool.Lent()+table.pool.Held(), limit)
	}
	table.Finish()
	assert.Zero(t, table.pool.Lent()+table.pool.Held())
	assert.Equal(t, 100_000, reported+lost[LossBudget], "each is reported or counted")
}

// TestConnectionsAreInTheBudget: those that have nothing under way take memory, too. The ones
// that were silent for longest make room.
func TestConnectionsAreInTheBudget(t *testing.T) {
	const limit = 1 << 20
	var lost [Losses]int
	reported := 0
	options := Options{MaxConnections: 100_000, MaxBytes: limit, Report: func(*request.Exchange) { reported++ }}
	options.Lost = func(reason Loss, n int) { lost[reason] += n }
	table := New(options)
	const asked, answered = "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 204 N\r\n\r\n"
	for i := range 10_000 {
		on := request.Connection{Flow: flow.Flow{
			Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5000),
			Server: netip.MustParseAddrPort("192.0.2.1:80"),
		}}
		table.Segment(&on, &stream.Segment{Sequence: 1, Acknowledgment: 1, Data: []byte(asked), Time: int64(i + 1), Begins: true, First: 1, Retransmits: -1})
		table.Segment(&on, &stream.Segment{
			Direction: stream.ToClient, Sequence: 1, Acknowledgment: uint32(1 + len(asked)), Data: []byte(answered), Time: int64(i + 1),
		})
		require.LessOrEqual(t, table.pool.Held(), limit/2)
	}
	assert.Equal(t, 10_000, reported, "an answered request is not lost with its connection")
	assert.Greater(t, table.Connections(), 400)
	assert.Equal(t, 10_000-table.Connections(), lost[LossTable])
	assert.Equal(t, table.Figures().Bytes, table.pool.Held())
	table.Finish()
	assert.Zero(t, table.pool.Held())
}

// exhaust takes all buffers, though not what the last quarter is for. It returns a function
// that gives them back.
func exhaust(w *wire) func() {
	var held [][]byte
	for size := 4096; size > 0; {
		if b := w.table.pool.Get(size); b != nil {
			held = append(held, b)
		} else {
			size /= 2
		}
	}
	return func() {
		for _, b := range held {
			w.table.pool.Put(b)
		}
	}
}

// TestFollowedWithoutBuffers: where bodies end is known even if no byte of a head is kept.
func TestFollowedWithoutBuffers(t *testing.T) {
	lost := 0
	w := newWire(Options{MaxBytes: 64 << 10, Options: stream.Options{Lost: func(Loss, int) { lost++ }}})
	restore := exhaust(w)
	decoy := get("/decoy")[2:]
	for _, step := range []struct{ asked, answered string }{
		{fmt.Sprintf("POST /1?a HTTP/1.1\r\nX: y\r\nContent-Length: %d\r\n\r\n%s", len(decoy), decoy), ok[2:]},
		{fmt.Sprintf("PUT /2 HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(decoy), decoy), "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"},
		{"HEAD /3 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"},
		{"POST /4 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"},
		{"x", "HTTP/1.1 204 No\r\n\r\n"},
		{"CONNECT a:1 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nxyz"},
	} {
		for _, b := range strings.Split(step.asked, "") {
			w.send(stream.ToServer, b)
		}
		for _, b := range strings.Split(step.answered, "") {
			w.send(stream.ToClient, b)
		}
	}
	n := len(decoy)
	w.wants(t, fmt.Sprintf("POST  200 %d/2 cut", n), fmt.Sprintf("PUT  503 %d/1 cut", n),
		"HEAD  200 cut", "POST  204 1/0 cut", "CONNECT  200 switched cut")
	assert.Zero(t, lost)
	w.table.Finish()
	restore()
	assert.Zero(t, w.table.pool.Lent())
}

// TestBuffersEndWithinAHead: what was kept before counts.
func TestBuffersEndWithinAHead(t *testing.T) {
	w := newWire(Options{MaxBytes: 64 << 10})
	w.send(stream.ToServer, "POST /path HTTP/1.1\r\nHost: a\r\nContent-")
	exhaust(w)
	w.send(stream.ToServer, "Length: 3\r\nX: "+strings.Repeat("y", 100)+"\r\n\r\nabc")
	w.send(stream.ToClient, ok[2:])
	require.Len(t, w.last, 1)
	assert.Equal(t, "a", string(w.last[0].Request.Field("host")))
	assert.Nil(t, w.last[0].Request.Field("x"))
	w.send(stream.ToServer, get("/2")[2:])
	w.send(stream.ToClient, ok[2:])
	w.wants(t, "POST /path 200 3/2 cut", "GET /2 200 0/2 cut")
}

func TestTableFull(t *testing.T) {
	lost := 0
	w := newWire(Options{MaxConnections: 1, Options: stream.Options{Lost: func(Loss, int) { lost++ }}})
	w.send(stream.ToServer, get("/")[2:])
	w.on.Client = netip.MustParseAddrPort("192.0.2.9:1")
	w.table.Segment(&w.on, &stream.Segment{Data: []byte("GET /2 HTTP/1.1\r\n\r\n"), Time: w.now, Begins: true, Retransmits: -1})
	assert.Equal(t, 1, lost)
	assert.Equal(t, 1, w.forgotten)
	assert.Equal(t, 1, w.table.Figures().Connections)
	require.Len(t, w.got, 1)
}

func TestBodies(t *testing.T) {
	const n, size = 100, 100_000
	var options Options
	options.Ports = func(uint16) Port { return Port{RequestBody: 10, AnswerBody: n, AnswerTail: 50} }
	w := newWire(options)
	w.send(stream.ToServer, "POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\n0123456789abcdefghij")
	body := strings.Repeat("b", size-50) + strings.Repeat("t", 50)
	w.send(stream.ToClient, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size))
	for at := 0; at < size; at += 1000 {
		w.send(stream.ToClient, body[at:at+1000])
	}
	require.Len(t, w.last, 1)
	e := &w.last[0]
	assert.Equal(t, "0123456789", string(e.Request.Body))
	assert.True(t, e.Request.BodyCut)
	assert.Equal(t, strings.Repeat("b", n), string(e.Answer.Body))
	assert.True(t, e.Answer.BodyCut)
	assert.Equal(t, strings.Repeat("t", 50), string(e.Answer.Tail))
	assert.EqualValues(t, size, e.Answer.BodyBytes)
	assert.Less(t, w.crossed, 60, "what lies between does not cross")
	assert.Equal(t, w.now, e.Answer.Ended)
}

func TestBodyDechunked(t *testing.T) {
	var options Options
	options.Ports = func(uint16) Port { return Port{AnswerBody: 100} }
	w := newWire(options)
	w.send(stream.ToServer, get("/")[2:])
	w.send(stream.ToClient, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n")
	w.send(stream.ToClient, "2\r\nde\r\n0\r\nT: v\r\n\r\n")
	require.Len(t, w.last, 1)
	assert.Equal(t, "abcde", string(w.last[0].Answer.Body))
	assert.False(t, w.last[0].Answer.BodyCut)
}

// TestBodyBegan: a stream's head can precede its first event by seconds.
func TestBodyBegan(t *testing.T) {
	var options Options
	options.Ports = func(uint16) Port { return Port{AnswerBody: 4} }
	w := newWire(options)
	w.send(stream.ToServer, "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab")
	w.send(stream.ToClient, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	w.send(stream.ToClient, "3\r\nabc\r\n")
	began := w.now
	w.send(stream.ToClient, "3\r\ndef\r\n0\r\n\r\n")
	require.Len(t, w.last, 1)
	e := &w.last[0]
	assert.Equal(t, began, e.Answer.BodyBegan)
	assert.Less(t, e.Answer.Began, began)
	assert.Zero(t, e.Request.BodyBegan, "nobody asked for its body")
}

func TestIdle(t *testing.T) {
	w := newWire(Options{IdleTimeout: time.Second})
	w.send(stream.ToServer, get("/")[2:])
	w.table.Sweep(w.now + int64(time.Second)/2)
	w.wants(t)
	w.table.Sweep(w.now + 2*int64(time.Second))
	w.wants(t, "GET / 0 idle")
	assert.Zero(t, w.table.active())
	// The request comes again, though its head is forgotten.
	w.table.Segment(&w.on, &stream.Segment{
		Sequence: w.first[0], Acknowledgment: w.first[1], Data: []byte(get("/")[2:]), Time: w.now, Retransmits: -1,
	})
	w.send(stream.ToClient, ok[2:])
	w.send(stream.ToServer, get("/2")[2:])
	w.send(stream.ToClient, ok[2:])
	w.wants(t, "GET /2 200 0/2")
	assert.EqualValues(t, 1, w.table.Figures().Late)
}

func TestTimesAndRetransmits(t *testing.T) {
	w := newWire(Options{})
	w.send(stream.ToServer, "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n")
	began := w.now
	w.send(stream.ToServer, "abcd")
	asked := w.now
	w.retrans = 3
	w.send(stream.ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
	answered := w.now
	w.send(stream.ToClient, "ab")
	w.send(stream.ToClient, "cd")
	require.Len(t, w.last, 1)
	e := &w.last[0]
	assert.Equal(t, []int64{began, asked, answered, w.now, w.now},
		[]int64{e.Request.Began, e.Request.Ended, e.Answer.Began, e.Answer.Ended, e.Finished})
	assert.EqualValues(t, 3, e.Retransmits)
}

func TestOverlapWithOtherContent(t *testing.T) {
	w := newWire(Options{})
	at := w.next[stream.ToServer]
	w.sendAt(stream.ToServer, at+4, "/first HTTP/1.1\r\n", 0x7ffffff8, false, false)
	w.sendAt(stream.ToServer, at+4, "/other HTTP/1.1\r\n", 0x7ffffff8, false, false)
	w.sendAt(stream.ToServer, at, "GET ", 0x7ffffff8, false, false)
	w.send(stream.ToServer, "\r\n")
	w.send(stream.ToClient, ok[2:])
	w.wants(t, "GET /first 200 0/2")
	assert.EqualValues(t, 5, w.table.Figures().Overlapped)
}

// TestConnectionTakesWhatIsDocumented: docs/limits.md has these sizes.
func TestConnectionTakesWhatIsDocumented(t *testing.T) {
	w := newWire(Options{})
	w.send(stream.ToServer, "GET / HTTP/1.1\r\n\r\n")
	assert.Equal(t, 816, w.table.pool.Held())
	assert.Equal(t, 208, entrySize+toldSize)
}
