// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	seen "github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// report is a copy of a handshake.
type report struct {
	seen.Handshake
	name, ja3, ja4, protocol string
	offers                   []string
	versions                 []uint16
}

// wire feeds a connection.
type wire struct {
	engine *Engine
	pool   *stream.Pool
	conn   *Conn
	on     request.Connection
	next   [stream.Directions]uint32
	wanted [stream.Directions]uint32
	now    int64
	got    []report
	over   bool
	joined bool
	lost   int
}

const limit = 1 << 20

func newWire() *wire {
	w := &wire{pool: stream.NewPool(limit), next: [2]uint32{0xffffff00, 0x7fffff00}, now: int64(time.Hour)}
	w.on.Flow = flow.Flow{
		Client: netip.MustParseAddrPort("192.0.2.7:40000"), Server: netip.MustParseAddrPort("192.0.2.1:443"),
	}
	options := stream.Options{
		Want: func(_ *stream.Key, d stream.Direction, seq uint32) { w.wanted[d] = seq },
		Lost: func(stream.Loss, int) { w.lost++ },
	}
	w.engine = New(options, w.pool, &stream.Figures{}, w.report)
	return w
}

func (w *wire) report(h *seen.Handshake) {
	r := report{Handshake: *h, name: string(h.Hello.Name), ja3: string(h.JA3), ja4: string(h.JA4), protocol: string(h.Protocol)}
	for name := range h.Hello.Protocol {
		r.offers = append(r.offers, string(name))
	}
	if h.Offered {
		for version := range h.Hello.OfferedVersion {
			r.versions = append(r.versions, version)
		}
	}
	w.got = append(w.got, r)
}

// segment passes a segment that acknowledges all that came before.
func (w *wire) segment(s stream.Segment) {
	if w.over {
		return
	}
	w.now += 1000
	s.Time, s.Acknowledgment = w.now, w.next[s.Direction.Reverse()]
	if w.conn == nil {
		if len(s.Data) == 0 {
			return
		}
		s.Begins, s.Joined = !w.joined, w.joined
		w.conn = w.engine.Begin(&w.on, &s)
	}
	if w.over = w.conn.Segment(&w.on, &s); w.over {
		w.conn.End()
	}
}

// say sends bytes in pieces of at most size.
func (w *wire) say(one *said, size func() int) {
	d, data := one.from, one.data
	for len(data) > 0 {
		n := min(size(), len(data))
		w.segment(stream.Segment{Direction: d, Sequence: w.next[d], Data: data[:n]})
		w.next[d] += uint32(n)
		data = data[n:]
	}
	if one.fin {
		w.segment(stream.Segment{Direction: d, Sequence: w.next[d], FIN: true})
		w.next[d]++
	}
}

func (w *wire) close(t testing.TB) {
	if w.conn != nil && !w.over {
		w.conn.End()
	}
	require.Zero(t, w.pool.Lent(), "bytes not given back")
}

// follow tells what is reported of a conversation, which must not depend on where it is cut.
func follow(t *testing.T, all []said) report {
	t.Helper()
	sizes := map[string]func() int{
		"whole": func() int { return 1 << 20 },
		"bytes": func() int { return 1 },
	}
	for range 20 {
		sizes["random"] = func() int { return 1 + rand.IntN(700) }
	}
	var first *report
	for name, size := range sizes {
		w := newWire()
		for i := range all {
			w.say(&all[i], size)
		}
		require.Len(t, w.got, 1, name)
		w.close(t)
		got := w.got[0]
		assert.LessOrEqual(t, got.Began, got.Ended)
		got.Began, got.Answered, got.Ended = 0, min(got.Answered, 1), 0
		got.Handshake.Hello, got.Handshake.JA3, got.Handshake.JA4, got.Handshake.Protocol = seen.Hello{}, nil, nil, nil
		if first == nil {
			first = &got
		}
		assert.Equal(t, *first, got, name)
	}
	return *first
}

func TestCompleted(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			got := follow(t, talk(t, trusting(t, version)))
			assert.Equal(t, seen.OutcomeCompleted, got.Outcome)
			assert.Empty(t, got.ErrorType())
			assert.Equal(t, version, got.Version)
			assert.NotEmpty(t, seen.CipherName(got.Cipher))
			assert.Equal(t, "shop.example", got.name)
			assert.Equal(t, []string{"h2", "http/1.1"}, got.offers)
			assert.Equal(t, []uint16{version}, got.versions)
			assert.Len(t, got.ja3, seen.JA3Size)
			assert.Len(t, got.ja4, seen.JA4Size)
			assert.True(t, got.ResumedKnown)
			assert.False(t, got.Resumed)
			want := "h2"
			if version == tls.VersionTLS13 {
				want = "" // it is encrypted
			}
			assert.Equal(t, want, got.protocol)
		})
	}
}

func TestResumed(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			p := trusting(t, version)
			p.client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			assert.False(t, follow(t, talk(t, p)).Resumed)
			got := follow(t, talk(t, p))
			assert.Equal(t, seen.OutcomeCompleted, got.Outcome)
			assert.True(t, got.Resumed)
			assert.True(t, got.ResumedKnown)
		})
	}
}

func TestHelloRetryRequest(t *testing.T) {
	p := trusting(t, tls.VersionTLS13)
	p.client.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP384}
	p.server.CurvePreferences = []tls.CurveID{tls.CurveP384}
	got := follow(t, talk(t, p))
	assert.True(t, got.Retried)
	assert.Equal(t, seen.OutcomeCompleted, got.Outcome)
	assert.Equal(t, "shop.example", got.name)
}

// failure is a handshake that fails.
type failure struct {
	name    string
	version uint16
	change  func(*testing.T, *peers)
	outcome seen.Outcome
	kind    string
	by      seen.Side
}

func failures() []failure {
	distrust := func(_ *testing.T, p *peers) { p.client.RootCAs = x509.NewCertPool() }
	unknown := func(_ *testing.T, p *peers) {
		p.server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return nil, errors.New("unknown name")
		}
	}
	versions := func(_ *testing.T, p *peers) {
		p.server.MinVersion, p.server.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	}
	expired := func(t *testing.T, p *peers) {
		cert := certificate(t, "client", time.Now().Add(-time.Hour))
		p.client.Certificates = []tls.Certificate{cert}
		p.server.ClientCAs = x509.NewCertPool()
		p.server.ClientCAs.AddCert(cert.Leaf)
		p.server.ClientAuth = tls.RequireAndVerifyClientCert
	}
	none := func(_ *testing.T, p *peers) { p.server.ClientAuth = tls.RequireAnyClientCert }
	const v12, v13 = tls.VersionTLS12, tls.VersionTLS13
	return []failure{
		{"1.2, distrust", v12, distrust, seen.OutcomeAlert, "bad_certificate", seen.SideClient},
		{"1.2, refused", v12, unknown, seen.OutcomeAlert, "internal_error", seen.SideServer},
		{"1.2, no common version", v12, versions, seen.OutcomeAlert, "protocol_version", seen.SideServer},
		{"1.2, expired client", v12, expired, seen.OutcomeAlert, "certificate_expired", seen.SideServer},
		{"1.2, no client certificate", v12, none, seen.OutcomeAlert, "handshake_failure", seen.SideServer},
		{"1.3, distrust", v13, distrust, seen.OutcomeClosed, "closed", seen.SideClient},
		{"1.3, refused", v13, unknown, seen.OutcomeAlert, "internal_error", seen.SideServer},
		{"1.3, no common version", v13, versions, seen.OutcomeAlert, "protocol_version", seen.SideServer},
		{"1.3, expired client", v13, expired, seen.OutcomeClosed, "closed", seen.SideServer},
		{"1.3, no client certificate", v13, none, seen.OutcomeClosed, "closed", seen.SideServer},
	}
}

func TestFailed(t *testing.T) {
	for _, f := range failures() {
		t.Run(f.name, func(t *testing.T) {
			p := trusting(t, f.version)
			f.change(t, &p)
			got := follow(t, talk(t, p))
			assert.Equal(t, f.outcome, got.Outcome)
			assert.Equal(t, f.kind, got.ErrorType())
			assert.Equal(t, f.by, got.By)
			assert.Equal(t, "shop.example", got.name)
		})
	}
}

// begun is what both sides said until the client has finished, or less of it.
func begun(t *testing.T, version uint16, pieces int) *wire {
	w := newWire()
	for _, one := range talk(t, trusting(t, version))[:pieces] {
		w.say(&one, func() int { return 1 << 20 })
	}
	require.Empty(t, w.got)
	return w
}

func TestNoAnswer(t *testing.T) {
	t.Run("the client gives up", func(t *testing.T) {
		w := begun(t, tls.VersionTLS13, 1)
		w.say(&said{from: stream.ToServer, fin: true}, nil)
		require.Len(t, w.got, 1)
		assert.Equal(t, "no_answer", w.got[0].ErrorType())
		assert.Equal(t, seen.SideClient, w.got[0].By)
		w.close(t)
	})
	t.Run("nobody gives up", func(t *testing.T) {
		w := begun(t, tls.VersionTLS13, 1)
		assert.False(t, w.conn.Sweep(w.now+2, w.now+1))
		require.Len(t, w.got, 1)
		assert.Equal(t, "no_answer", w.got[0].ErrorType())
		assert.Equal(t, seen.SideServer, w.got[0].By)
		w.close(t)
	})
	t.Run("the server resets", func(t *testing.T) {
		w := begun(t, tls.VersionTLS12, 1)
		w.segment(stream.Segment{Direction: stream.ToClient, Sequence: w.next[1], RST: true})
		require.Len(t, w.got, 1)
		assert.Equal(t, "reset", w.got[0].ErrorType())
		assert.Equal(t, seen.SideServer, w.got[0].By)
		w.close(t)
	})
	t.Run("the server answers with something else", func(t *testing.T) {
		w := begun(t, tls.VersionTLS12, 1)
		w.say(&said{from: stream.ToClient, data: []byte("HTTP/1.1 400 Bad Request\r\n\r\n")}, func() int { return 1 << 20 })
		require.Len(t, w.got, 1)
		assert.Equal(t, "_OTHER", w.got[0].ErrorType())
		assert.Equal(t, seen.SideServer, w.got[0].By)
		w.close(t)
	})
}

func TestClearTextFirst(t *testing.T) {
	conversations := map[string][]said{
		"SMTP": {
			{from: stream.ToClient, data: []byte("220 mail.example ESMTP\r\n")},
			{from: stream.ToServer, data: []byte("EHLO client.example\r\n")},
			{from: stream.ToClient, data: []byte("250-mail.example\r\n250 STARTTLS\r\n")},
			{from: stream.ToServer, data: []byte("STARTTLS\r\n")},
			{from: stream.ToClient, data: []byte("220 go ahead\r\n")},
		},
		"PostgreSQL": {
			{from: stream.ToServer, data: []byte("\x00\x00\x00\x08\x04\xd2\x16\x2f")},
			{from: stream.ToClient, data: []byte("S")},
		},
		"PROXY protocol": {{from: stream.ToServer, data: []byte("PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n")}},
	}
	for name, before := range conversations {
		t.Run(name, func(t *testing.T) {
			w := newWire()
			for _, one := range append(before, talk(t, trusting(t, tls.VersionTLS13))...) {
				w.say(&one, func() int { return 1 << 20 })
			}
			require.Len(t, w.got, 1)
			assert.Equal(t, seen.OutcomeCompleted, w.got[0].Outcome)
			assert.Equal(t, "shop.example", w.got[0].name)
			w.close(t)
		})
	}
	t.Run("a header in pieces", func(t *testing.T) {
		const line = "PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n"
		const binary = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\xc0\x00\x02\x01\x12\x67\x01\xbb"
		for _, header := range []string{line, binary} {
			for _, joined := range []bool{false, true} {
				for _, size := range []int{1, 3, 20} {
					w := newWire()
					w.joined = joined
					w.say(&said{from: stream.ToServer, data: []byte(header)}, func() int { return size })
					for _, one := range talk(t, trusting(t, tls.VersionTLS13)) {
						w.say(&one, func() int { return 1 << 20 })
					}
					require.Len(t, w.got, 1)
					assert.Equal(t, seen.OutcomeCompleted, w.got[0].Outcome)
					// In the middle of a connection, it is what a client wrote.
					assert.Equal(t, !joined, w.got[0].Proxied == netip.MustParseAddrPort("203.0.113.9:4711"))
					w.close(t)
				}
			}
		}
	})
	t.Run("a header that never ends", func(t *testing.T) {
		w := newWire()
		w.say(&said{from: stream.ToServer, data: append([]byte("PROXY "), make([]byte, 200)...)}, func() int { return 10 })
		w.say(&said{from: stream.ToServer, fin: true}, nil)
		assert.Empty(t, w.got)
		w.close(t)
	})
	t.Run("a header and the hello in one segment", func(t *testing.T) {
		all := talk(t, trusting(t, tls.VersionTLS13))
		all[0].data = append([]byte("PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n"), all[0].data...)
		w := newWire()
		for i := range all {
			w.say(&all[i], func() int { return 1 << 20 })
		}
		require.Len(t, w.got, 1)
		assert.Equal(t, netip.MustParseAddrPort("203.0.113.9:4711"), w.got[0].Proxied)
		w.close(t)
	})
}

// TestNoHelloAfterItsHeader: what seemed to be the record of a hello has another message, which
// only the next segment shows.
func TestNoHelloAfterItsHeader(t *testing.T) {
	w := newWire()
	for _, data := range []string{"\x16\x03\x01\x00\x40", "\x02\x00\x00\x01x"} {
		w.say(&said{from: stream.ToServer, data: []byte(data)}, func() int { return 1 << 20 })
	}
	for _, one := range talk(t, trusting(t, tls.VersionTLS13)) {
		w.say(&one, func() int { return 1 << 20 })
	}
	require.Len(t, w.got, 1)
	assert.Equal(t, seen.OutcomeCompleted, w.got[0].Outcome)
	w.close(t)
}

func TestWithoutHelloNothingIsReported(t *testing.T) {
	for name, joined := range map[string]bool{"from the beginning": false, "joined late": true} {
		t.Run(name, func(t *testing.T) {
			w := newWire()
			w.joined = joined
			rounds := 20
			if joined {
				rounds = 1 // much less suffices
			}
			for range rounds {
				w.say(&said{from: stream.ToServer, data: make([]byte, 16<<10)}, func() int { return 1 << 20 })
			}
			assert.Empty(t, w.got)
			assert.Nil(t, w.conn.state)
			assert.Greater(t, w.wanted[0]-w.next[0], uint32(stream.MaxAhead/2), "nothing more is wanted")
			w.close(t)
		})
	}
}

func TestNothingIsWantedAfterTheHandshake(t *testing.T) {
	w := newWire()
	for _, one := range talk(t, trusting(t, tls.VersionTLS13)) {
		if !one.fin {
			w.say(&one, func() int { return 1 << 20 })
		}
	}
	require.Len(t, w.got, 1)
	for d := range w.wanted {
		assert.Greater(t, w.wanted[d]-w.next[d], uint32(stream.MaxAhead/2))
	}
	assert.Zero(t, w.pool.Lent())
	w.close(t)
}

func TestGaps(t *testing.T) {
	t.Run("in a certificate", func(t *testing.T) {
		w := newWire()
		for i, one := range talk(t, trusting(t, tls.VersionTLS12)) {
			if i == 1 {
				// The ServerHello is small, and the certificate follows.
				w.say(&said{from: one.from, data: one.data[:200]}, func() int { return 1 << 20 })
				w.next[one.from] += 250 // more than all messages behind the certificate have
				one.data = one.data[450:]
			}
			w.say(&one, func() int { return 1 << 20 })
		}
		require.Len(t, w.got, 1)
		assert.Equal(t, seen.OutcomeCompleted, w.got[0].Outcome)
		assert.True(t, w.got[0].ResumedKnown)
		assert.False(t, w.got[0].Resumed)
		w.close(t)
	})
	t.Run("in the answer", func(t *testing.T) {
		w := newWire()
		for i, one := range talk(t, trusting(t, tls.VersionTLS12)) {
			if i == 1 {
				w.next[one.from] += uint32(len(one.data))
				continue
			}
			w.say(&one, func() int { return 1 << 20 })
		}
		require.Len(t, w.got, 1)
		assert.Equal(t, seen.OutcomeUnknown, w.got[0].Outcome)
		assert.Empty(t, w.got[0].ErrorType())
		assert.Equal(t, "shop.example", w.got[0].name)
		w.close(t)
	})
}

func TestWithoutRoom(t *testing.T) {
	w := newWire()
	others := limit - connSize - stateSize + 1
	require.True(t, w.pool.Reserve(others))
	for _, one := range talk(t, trusting(t, tls.VersionTLS13)) {
		w.say(&one, func() int { return 1 << 20 })
	}
	assert.Empty(t, w.got)
	assert.Equal(t, 1, w.lost)
	w.pool.Release(others)
	w.close(t)
}

// TestHandshakesDoNotAllocate: all that a handshake needs is kept for the next one.
func TestHandshakesDoNotAllocate(t *testing.T) {
	all := talk(t, trusting(t, tls.VersionTLS13))
	w := newWire()
	w.engine.report = func(*seen.Handshake) {}
	first := w.next
	once := func() {
		w.conn, w.over, w.next = nil, false, first
		for i := range all {
			w.say(&all[i], func() int { return 1400 })
		}
	}
	once()
	assert.Zero(t, testing.AllocsPerRun(100, once))
}

func BenchmarkHandshake(b *testing.B) {
	all := talk(b, trusting(b, tls.VersionTLS13))
	w := newWire()
	w.engine.report = func(*seen.Handshake) {}
	first := w.next
	b.ReportAllocs()
	for b.Loop() {
		w.conn, w.over, w.next = nil, false, first
		for i := range all {
			w.say(&all[i], func() int { return 1400 })
		}
	}
}
