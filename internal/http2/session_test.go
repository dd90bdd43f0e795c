// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

const (
	began     = int64(1_000_000_000_000)
	poolBytes = 4 << 20
)

// side writes the frames of one direction, as a program does.
type side struct {
	bytes.Buffer
	*h2.Framer
	fields  bytes.Buffer
	encoder *hpack.Encoder
}

func newSide() *side {
	s := &side{}
	s.Framer = h2.NewFramer(&s.Buffer, nil)
	s.AllowIllegalWrites = true
	s.encoder = hpack.NewEncoder(&s.fields)
	return s
}

// block encodes fields: names and values in turns.
func (s *side) block(fields ...string) []byte {
	s.fields.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = s.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(s.fields.Bytes())
}

func (s *side) headers(id uint32, end bool, fields ...string) {
	_ = s.WriteHeaders(h2.HeadersFrameParam{StreamID: id, BlockFragment: s.block(fields...), EndStream: end, EndHeaders: true})
}

// session is a connection between two sides, and what is reported of it.
type session struct {
	sides [stream.Directions]*side
	sent  [stream.Directions]uint32
	// cut is the size of segments; 0 is as written. lose drops segments, which are acknowledged.
	cut    int
	lose   func(*stream.Segment) bool
	engine *Engine
	conn   *Conn
	on     request.Connection
	pool   *stream.Pool
	fig    stream.Figures
	wanted [stream.Directions]uint32
	lost   map[stream.Loss]int
	got    []string
	full   []request.Exchange
	now    int64
	// late is set if the inspection begins with the next segment.
	late bool
	// follows: the kernel side follows frames, those that each direction has had. begins is where it
	// was told that they begin.
	begins  [stream.Directions]uint32
	follows [stream.Directions]bool
	// numbers are those of the segments that crossed so. shuffle changes the order of records to the
	// server, and of their pieces, which wait in held.
	numbers [stream.Directions]uint8
	shuffle *rand.Rand
	held    [][]stream.Segment
	// twice is how often of ten times a segment has the number of the one before it, and tight how often
	// the pool is full as a piece comes.
	twice, tight int
	frames       [stream.Directions][]span32
	// waiting are answers whose first DATA the kernel side lets cross.
	waiting int
}

// span32 is a frame: its first byte, the one behind it, and whether it crosses. first: its head
// does, because an answer waits for it.
type span32 struct {
	begin, end    uint32
	wanted, first bool
}

// note remembers the frames of what a side has written.
func (s *session) note(d stream.Direction, data []byte) {
	at := s.sent[d]
	if d == stream.ToServer && bytes.HasPrefix(data, []byte(frame.Preface)) {
		s.frames[d] = append(s.frames[d], span32{begin: at, end: at + uint32(len(frame.Preface)), wanted: true})
		at, data = at+uint32(len(frame.Preface)), data[len(frame.Preface):]
	}
	for len(data) > 0 {
		f := frame.Parse((*[frame.HeadBytes]byte)(data))
		size := frame.HeadBytes + f.Length
		first := d == stream.ToClient && f.Kind == frame.Data && f.Length > 0 && s.waiting > 0
		if first {
			s.waiting--
		}
		if f.Kind == frame.Headers && !f.Has(frame.EndStream) {
			s.waiting += int(d)
		}
		s.frames[d] = append(s.frames[d], span32{at, at + size, f.Kind != frame.Data || f.Has(frame.EndStream), first})
		at, data = at+size, data[size:]
	}
}

// follow does to a segment what the kernel side does. It reports whether anything crosses.
func (s *session) follow(segment *stream.Segment) bool {
	d, begin := segment.Direction, segment.Sequence
	end := begin + uint32(len(segment.Data))
	segment.Frames = true
	if begin == end {
		return segment.FIN || segment.RST
	}
	from, crosses, first := end, false, uint32(0)
	for _, f := range s.frames[d] {
		switch {
		case stream.Before(f.begin, begin) && stream.Before(begin, f.end) && f.wanted:
			from, crosses = begin, true
		case !stream.Before(f.begin, begin) && stream.Before(f.begin, end):
			if stream.Before(f.begin, from) {
				from = f.begin
			}
			crosses = crosses || f.wanted
			if f.first {
				first = min(f.begin+frame.HeadBytes-from, end-from, 256)
			}
		}
	}
	if !crosses && first > 0 {
		segment.Left = end - from - first
		segment.Data, segment.Sequence = segment.Data[from-begin:from-begin+first], from
		return true
	}
	segment.Data, segment.Sequence = segment.Data[from-begin:], from
	return crosses
}

func newSession() *session {
	s := &session{now: began, pool: stream.NewPool(poolBytes), lost: map[stream.Loss]int{}}
	s.on.Flow = flow.Flow{
		Client: netip.MustParseAddrPort("192.0.2.7:40000"), Server: netip.MustParseAddrPort("192.0.2.1:80"),
	}
	s.sent = [2]uint32{0xffffff00, 0x7fffff00}
	for d := range s.sides {
		s.sides[d] = newSide()
	}
	s.engine = New(stream.Options{
		HeadBytes: 8 << 10,
		Ports:     func(uint16) stream.Port { return stream.Port{} },
		Want:      func(_ *stream.Key, d stream.Direction, seq uint32) { s.wanted[d] = seq },
		Passed:    func(*stream.Key, stream.Direction) (uint32, int64) { return 0, 0 },
		Follows:   func(_ *stream.Key, d stream.Direction) bool { return s.follows[d] },
		Follow:    func(_ *stream.Key, d stream.Direction, seq uint32) { s.begins[d] = seq },
		Widen:     func(*stream.Key, stream.Direction) {},
		Lost:      func(reason stream.Loss, n int) { s.lost[reason] += n },
	}, s.pool, &s.fig, func(e *request.Exchange) {
		s.got = append(s.got, line(e))
		s.full = append(s.full, copied(e))
	})
	return s
}

func copied(e *request.Exchange) request.Exchange {
	c := *e
	c.Method, c.Target = bytes.Clone(e.Method), bytes.Clone(e.Target)
	for _, m := range []*request.Message{&c.Request, &c.Answer} {
		m.SetFields(copiedFields(m.Fields())...)
		m.Trailers = copiedFields(m.Trailers)
		m.Body = bytes.Clone(m.Body)
	}
	return c
}

func copiedFields(fields []request.Field) []request.Field {
	all := make([]request.Field, 0, len(fields))
	for _, f := range fields {
		all = append(all, request.Field{Name: bytes.Clone(f.Name), Value: bytes.Clone(f.Value)})
	}
	return all
}

func line(e *request.Exchange) string {
	s := fmt.Sprintf("%s %s %d", e.Method, e.Target, e.Status)
	if e.Request.BodyBytes != 0 || e.Answer.BodyBytes != 0 {
		s += fmt.Sprintf(" %d/%d", e.Request.BodyBytes, e.Answer.BodyBytes)
	}
	for _, f := range e.Answer.Trailers {
		s += fmt.Sprintf(" %s=%s", f.Name, f.Value)
	}
	if e.Problem != request.ProblemNone {
		s += " " + e.Problem.String()
	}
	if e.Request.HeadCut || e.Answer.HeadCut {
		s += " cut"
	}
	return s
}

// flush sends what a side has written.
func (s *session) flush(d stream.Direction) {
	data := bytes.Clone(s.sides[d].Bytes())
	s.sides[d].Reset()
	s.note(d, data)
	for len(data) > 0 {
		n := len(data)
		if s.cut > 0 {
			n = min(n, s.cut)
		}
		s.send(d, data[:n], false, false)
		data = data[n:]
	}
	s.letGo()
}

// send passes a segment, which acknowledges all that the other side has sent.
func (s *session) send(d stream.Direction, data []byte, fin, rst bool) {
	s.now += 1000
	segment := stream.Segment{
		Direction: d, Sequence: s.sent[d], Acknowledgment: s.sent[d.Reverse()], Data: data, Time: s.now,
		FIN: fin, RST: rst, Retransmits: -1,
	}
	s.sent[d] += uint32(len(data))
	if fin {
		s.sent[d]++
	}
	if s.late {
		return
	}
	if s.follows[d] && !s.follow(&segment) {
		return
	}
	if s.follows[d] {
		if s.shuffle == nil || d != stream.ToServer || s.shuffle.IntN(10) >= s.twice {
			s.numbers[d]++
		}
		segment.Number = s.numbers[d]
	}
	if s.lose != nil && s.lose(&segment) {
		s.follows[d] = false
		return
	}
	// What the kernel side knows not to be wanted does not cross, unless it follows frames.
	if s.conn != nil && !segment.Frames && len(data) > 0 && stream.Before(segment.Sequence+uint32(len(data))-1, s.wanted[d]) && !fin && !rst {
		return
	}
	if s.conn == nil {
		segment.Begins = d == stream.ToServer
		s.conn = s.engine.Begin(&s.on, &segment)
		s.wanted[d], s.wanted[d.Reverse()] = segment.Sequence, segment.Acknowledgment
	}
	if s.shuffle != nil && d == stream.ToServer && len(data) > 0 {
		s.hold(segment)
		return
	}
	if s.conn.Segment(&s.on, &segment) {
		s.end()
	}
}

// hold keeps the pieces of a segment back.
func (s *session) hold(segment stream.Segment) {
	var pieces []stream.Segment
	for rest := segment.Data; len(rest) > 0; {
		piece := segment
		n := min(1+s.shuffle.IntN(1500), len(rest))
		piece.Data, piece.More = rest[:n], n < len(rest)
		pieces = append(pieces, piece)
		segment.Sequence += uint32(n)
		rest = rest[n:]
	}
	s.held = append(s.held, pieces)
}

// letGo passes what was held back: the pieces of up to three segments in turns.
func (s *session) letGo() {
	for len(s.held) > 0 {
		i := s.shuffle.IntN(min(3, len(s.held)))
		segment := s.held[i][0]
		if s.held[i] = s.held[i][1:]; len(s.held[i]) == 0 {
			s.held = append(s.held[:i], s.held[i+1:]...)
		}
		if s.shuffle.IntN(10) >= s.tight {
			s.conn.Segment(&s.on, &segment)
			continue
		}
		release := s.fill()
		s.conn.Segment(&s.on, &segment)
		release()
	}
}

// fill takes all of the pool that is free, and returns what gives it back.
func (s *session) fill() func() {
	n := poolBytes - s.pool.Lent()
	s.pool.Reserve(n)
	return func() { s.pool.Release(n) }
}

// join lets the inspection begin in the middle of the connection.
func (s *session) join(d stream.Direction) {
	s.late = false
	s.conn = s.engine.Begin(&s.on, &stream.Segment{
		Direction: d, Sequence: s.sent[d], Acknowledgment: s.sent[d.Reverse()],
	})
	s.wanted = s.sent
}

func (s *session) end() {
	if s.conn != nil {
		s.conn.End()
		s.conn = nil
	}
}

// request sends a request with an id, which the answer repeats.
func (s *session) request(id uint32, end bool, more ...string) {
	s.sides[0].headers(id, end, append([]string{
		":method", "GET", ":scheme", "http", ":authority", "example.org", ":path", fmt.Sprint("/", id), "x-id", fmt.Sprint(id),
	}, more...)...)
}

func (s *session) answer(id uint32, end bool, more ...string) {
	s.sides[1].headers(id, end, append([]string{":status", "200", "server", "test", "x-id", fmt.Sprint(id)}, more...)...)
}

func (s *session) open() {
	s.sides[0].WriteString(frame.Preface)
	_ = s.sides[0].WriteSettings()
	s.flush(stream.ToServer)
	_ = s.sides[1].WriteSettings()
	_ = s.sides[1].WriteSettingsAck()
	s.flush(stream.ToClient)
}

// older has a first request with values that nobody repeats: if others are missing from the table of fields,
// an index means one of these, and is not beyond its end.
func (s *session) older() {
	s.sides[0].headers(1, true, "x-a", "1", "x-b", "2", "x-c", "3", "x-d", "4", "x-e", "5", "x-f", "6", ":path", "/1")
	s.flush(toServer)
	s.answer(1, true)
	s.flush(toClient)
	s.got, s.full = nil, nil
}

// everyCut runs a script with segments of several sizes. Nothing may stay in the pool.
func everyCut(t *testing.T, script func(*session), want ...string) {
	t.Helper()
	for _, cut := range []int{0, 1, 2, 5, 9, 10, 64, 1000} {
		s := newSession()
		s.cut = cut
		s.open()
		script(s)
		s.end()
		require.Equalf(t, want, s.got, "segments of %d bytes", cut)
		require.Zerof(t, s.pool.Lent(), "segments of %d bytes", cut)
		require.Zero(t, s.fig.Gaps)
		require.Zero(t, s.engine.port(80).active)
	}
}
