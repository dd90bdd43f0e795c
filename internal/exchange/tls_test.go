// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	seen "github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// helloOfGo is the first segment of a client of Go.
func helloOfGo(t *testing.T) string {
	near, far := net.Pipe()
	require.NoError(t, near.SetDeadline(time.Now().Add(time.Minute)))
	ended := make(chan error, 1)
	go func() { ended <- tls.Client(far, &tls.Config{ServerName: "shop.example"}).Handshake() }()
	sent := make([]byte, 64<<10)
	n, err := near.Read(sent)
	require.NoError(t, err)
	require.NoError(t, near.Close())
	require.ErrorIs(t, <-ended, io.EOF)
	return string(sent[:n])
}

// refusal is an alert of a server: handshake_failure.
const refusal = "\x15\x03\x03\x00\x02\x02\x28"

// newTLSWire is a connection to a port of these protocols. It returns where handshakes go.
func newTLSWire(protocols Protocols) (*wire, *[]string) {
	var got []string
	var options Options
	options.Protocols = func(uint16) Protocols { return protocols }
	options.TLS.Report = func(h *seen.Handshake) {
		got = append(got, string(h.Hello.Name)+" "+h.ErrorType())
	}
	return newWire(options), &got
}

func TestFirstByteDecides(t *testing.T) {
	hello := helloOfGo(t)
	for name, c := range map[string]struct {
		protocols  Protocols
		request    string
		answer     string
		requests   []string
		handshakes []string
	}{
		"TLS alone":             {Protocols{TLS: true}, hello, refusal, nil, []string{"shop.example handshake_failure"}},
		"TLS of both":           {Protocols{TLS: true, HTTP: true}, hello, refusal, nil, []string{"shop.example handshake_failure"}},
		"HTTP of both":          {Protocols{TLS: true, HTTP: true}, "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", []string{"GET / 204"}, nil},
		"HTTP on a port of TLS": {Protocols{TLS: true}, "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w, handshakes := newTLSWire(c.protocols)
			w.send(stream.ToServer, c.request)
			w.send(stream.ToClient, c.answer)
			w.fin(stream.ToServer)
			w.fin(stream.ToClient)
			w.wants(t, c.requests...)
			assert.Equal(t, c.handshakes, *handshakes)
			assert.Equal(t, 1, w.forgotten)
			w.table.Finish()
			assert.Zero(t, w.table.pool.Lent())
		})
	}
}

// TestDisplacedHandshakeIsNotLost: it is reported, without its outcome.
func TestDisplacedHandshakeIsNotLost(t *testing.T) {
	w, handshakes := newTLSWire(Protocols{TLS: true})
	w.table.options.MaxConnections = 1
	lost := 0
	w.table.options.Lost = func(Loss, int) { lost++ }
	w.send(stream.ToServer, helloOfGo(t))
	other := *w
	other.on.Client = netip.MustParseAddrPort("192.0.2.8:40001")
	other.known, other.next = false, other.first
	other.send(stream.ToServer, helloOfGo(t))
	assert.Equal(t, []string{"shop.example "}, *handshakes)
	assert.Zero(t, lost)
	w.table.Finish()
	assert.Len(t, *handshakes, 2)
	assert.Zero(t, w.table.pool.Lent())
}

// TestIdleHandshake: handshakes wait as long as their own option says.
func TestIdleHandshake(t *testing.T) {
	w, handshakes := newTLSWire(Protocols{TLS: true})
	w.table.options.IdleTimeout, w.table.options.TLS.IdleTimeout = time.Hour, time.Minute
	w.send(stream.ToServer, helloOfGo(t))
	w.table.Sweep(w.now + int64(59*time.Second))
	assert.Empty(t, *handshakes)
	w.table.Sweep(w.now + int64(61*time.Second))
	assert.Equal(t, []string{"shop.example no_answer"}, *handshakes)
	w.table.Finish()
	assert.Zero(t, w.table.pool.Lent())
}

// TestToldHandshakeLeaves: what a connection of TLS takes is given back when its handshake was
// told. Segments on their way then begin no other connection, and the kernel side goes on to know
// that nothing is wanted, until the connection ends.
func TestToldHandshakeLeaves(t *testing.T) {
	w, handshakes := newTLSWire(Protocols{TLS: true, HTTP: true})
	w.window = 1 << 30
	w.send(stream.ToServer, helloOfGo(t))
	assert.Greater(t, w.table.pool.Held(), entrySize+toldSize)
	w.send(stream.ToClient, refusal)
	require.Len(t, *handshakes, 1)
	assert.Equal(t, entrySize+toldSize, w.table.pool.Held())
	assert.Zero(t, w.table.pool.Lent())
	for range 3 {
		w.send(stream.ToServer, "the middle of a record")
	}
	w.known = false
	w.send(stream.ToClient, "what the kernel side forgot")
	assert.Equal(t, 1, w.table.Connections())
	assert.Equal(t, entrySize+toldSize, w.table.pool.Held())
	for d := range w.wanted {
		assert.Greater(t, w.wanted[d]-w.next[d], uint32(stream.MaxAhead/2))
	}
	w.table.Sweep(w.now + stream.HoleTime + 1)
	assert.Zero(t, w.table.Connections())
	assert.Zero(t, w.table.pool.Held())
	assert.Zero(t, w.forgotten, "the kernel side still knows it")
	w.table.Segment(&w.on, &stream.Segment{Sequence: w.next[0], Acknowledgment: w.next[1], FIN: true, Time: w.now})
	assert.Equal(t, 1, w.forgotten)
	assert.Len(t, *handshakes, 1)
	w.wants(t)
}
