// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// wire is a connection as the kernel side sees it: it knows from which byte on each direction
// is wanted, and passes nothing else.
type wire struct {
	table *Table
	on    request.Connection
	got   []string
	last  []request.Exchange
	now   int64
	// next are the sequence numbers, first those of the first bytes.
	next, first [2]uint32
	wanted      [2]uint32
	known       bool
	begins      bool
	// window is how far behind what is wanted a segment can begin.
	window uint32
	// drop loses records; every crossing segment asks.
	drop   func(*stream.Segment) bool
	passed [2]struct {
		end  uint32
		when int64
	}
	forgotten int
	crossed   int
	retrans   int64
}

const start = int64(1_000_000_000_000)

func newWire(options Options) *wire {
	w := &wire{now: start, first: [2]uint32{0xfffffff0, 0x7ffffff8}, begins: true, window: 32 << 10}
	w.next = w.first
	w.on.Flow = flow.Flow{
		Client: netip.MustParseAddrPort("192.0.2.7:40000"), Server: netip.MustParseAddrPort("192.0.2.1:80"),
	}
	if options.MaxConnections == 0 {
		options.MaxConnections = 100
	}
	if options.MaxBytes == 0 {
		options.MaxBytes = 16 << 20
	}
	options.Want = func(_ *Key, d stream.Direction, seq uint32) {
		if stream.Before(w.wanted[d], seq) {
			w.wanted[d] = seq
		}
	}
	options.Passed = func(_ *Key, d stream.Direction) (uint32, int64) {
		return w.passed[d].end, w.passed[d].when
	}
	options.Forget = func(*Key) { w.forgotten++ }
	options.Report = func(e *request.Exchange) {
		w.got = append(w.got, line(e))
		w.last = append(w.last, clone(e))
	}
	w.table = New(options)
	return w
}

func clone(e *request.Exchange) request.Exchange {
	c := *e
	c.Method, c.Target = []byte(string(e.Method)), []byte(string(e.Target))
	for _, m := range []*request.Message{&c.Request, &c.Answer} {
		m.SetFields(cloneFields(m.Fields())...)
		m.Trailers = cloneFields(m.Trailers)
		m.Body, m.Tail = []byte(string(m.Body)), []byte(string(m.Tail))
	}
	return c
}

func cloneFields(fields []request.Field) []request.Field {
	copied := make([]request.Field, 0, len(fields))
	for _, f := range fields {
		copied = append(copied, request.Field{Name: []byte(string(f.Name)), Value: []byte(string(f.Value))})
	}
	return copied
}

// line says what an exchange is.
func line(e *request.Exchange) string {
	s := fmt.Sprintf("%s %s %d", e.Method, e.Target, e.Status)
	if len(e.Method) == 0 {
		s = fmt.Sprintf("- %d", e.Status)
	}
	if e.Request.BodyBytes != 0 || e.Answer.BodyBytes != 0 {
		s += fmt.Sprintf(" %d/%d", e.Request.BodyBytes, e.Answer.BodyBytes)
	}
	if e.Problem != request.ProblemNone {
		s += " " + e.Problem.String()
	}
	if e.Switched {
		s += " switched"
	}
	if e.Request.HeadCut || e.Answer.HeadCut {
		s += " cut"
	}
	return s
}

// send sends data as one segment, which acknowledges all that came before.
func (w *wire) send(d stream.Direction, data string) {
	w.sendAt(d, w.next[d], data, w.next[d.Reverse()], false, false)
}

func (w *wire) fin(d stream.Direction) {
	w.sendAt(d, w.next[d], "", w.next[d.Reverse()], true, false)
	w.next[d]++
}

func (w *wire) rst(d stream.Direction) {
	w.sendAt(d, w.next[d], "", w.next[d.Reverse()], false, true)
}

// sendAt passes a segment through what the kernel side does.
func (w *wire) sendAt(d stream.Direction, seq uint32, data string, ack uint32, fin, rst bool) {
	w.now += 1000
	end := seq + uint32(len(data))
	if stream.Before(w.next[d], end) {
		w.next[d] = end
	}
	s := stream.Segment{
		Direction: d, Sequence: seq, Acknowledgment: ack, Time: w.now, FIN: fin, RST: rst, Retransmits: -1,
	}
	if d == stream.ToClient {
		s.Retransmits = w.retrans
	}
	if !w.known {
		if data == "" {
			return
		}
		w.known = true
		w.wanted = [2]uint32{seq, ack}
		if w.begins && d == stream.ToServer {
			w.wanted[0] = w.first[0]
		}
		if d == stream.ToClient {
			w.wanted = [2]uint32{ack, seq}
		}
		s.Joined = true
	}
	if w.begins && d == stream.ToServer && !stream.Before(w.first[0]+1<<16, seq) {
		s.Begins, s.First = true, w.first[0]
	}
	body := []byte(data)
	switch {
	case fin || rst:
	case len(data) == 0:
		return
	case stream.Before(end, w.wanted[d]), !stream.Before(seq, w.wanted[d]+w.window):
		w.passed[d].end, w.passed[d].when = end, w.now
		return
	}
	if skip := w.wanted[d] - seq; int32(skip) > 0 {
		skip = min(skip, uint32(len(body)))
		body = body[skip:]
		s.Sequence, s.Skipped = seq+skip, skip
	}
	w.passed[d].end, w.passed[d].when = end, w.now
	if len(data) > 0 {
		if r := d.Reverse(); stream.Before(w.wanted[r], ack) {
			w.wanted[r] = ack
		}
	}
	for first := true; first || len(body) > 0; first = false {
		n := min(len(body), 16<<10)
		piece := s
		piece.Data, piece.Left = body[:n], uint32(len(body)-n)
		piece.FIN = fin && n == len(body)
		w.cross(&piece)
		body = body[n:]
		s.Sequence += uint32(n)
		s.Skipped += uint32(n)
	}
}

func (w *wire) cross(s *stream.Segment) {
	if w.drop != nil && w.drop(s) {
		return
	}
	w.crossed++
	w.table.Segment(&w.on, s)
}

func (w *wire) wants(t *testing.T, want ...string) {
	t.Helper()
	if got := strings.Join(w.got, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("reported:\n%s\nwanted:\n%s", got, strings.Join(want, "\n"))
	}
	w.got, w.last = nil, nil
}
