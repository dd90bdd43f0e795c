// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
	seen "github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// handshake is a copy of what a sink gets.
type handshake struct {
	seen.Handshake
	name, ja3, ja4 string
}

// greeted is a whole probe that inspects a server of TLS on lo.
type greeted struct {
	fact.Nop
	t        *testing.T
	probe    *Probe
	server   *tls.Config
	roots    *x509.CertPool
	address  string
	got      map[netip.AddrPort]handshake
	segments int
	lost     map[ledger.Event]int
}

func (g *greeted) HandshakeSeen(h *seen.Handshake) {
	if _, twice := g.got[h.Client]; twice {
		g.t.Errorf("two handshakes of %v", h.Client)
	}
	g.got[h.Client] = handshake{*h, string(h.Hello.Name), string(h.JA3), string(h.JA4)}
}

func (g *greeted) SegmentsUsed(n int) { g.segments += n }

func (g *greeted) FactsLost(e ledger.Event, _ ledger.Cause, n int) { g.lost[e] += n }

// certify makes a certificate that signs itself.
func certify(t *testing.T, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop"}, DNSNames: []string{"*.shop.example"},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

// startGreeted runs the server and the probe, in a namespace of the test's own.
func startGreeted(t *testing.T, ring uint32) *greeted {
	t.Helper()
	wire.Enter(t)
	g := &greeted{t: t, got: map[netip.AddrPort]handshake{}, lost: map[ledger.Event]int{}}
	certificate, roots := certify(t, time.Now().Add(time.Hour))
	g.roots = roots
	g.server = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}
	g.server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if strings.HasPrefix(hello.ServerName, "refused") {
			return nil, errors.New("unknown name")
		}
		return nil, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g.address = listener.Addr().String()
	var answering sync.WaitGroup
	answering.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			answering.Go(func() { answer(conn, g.server) })
		}
	})
	t.Cleanup(func() {
		assert.NoError(t, listener.Close())
		answering.Wait()
	})
	cfg := testConfig()
	cfg.TCMode, cfg.IncludeInterfaces = TCAuto, []string{"lo"}
	port := uint16(listener.Addr().(*net.TCPAddr).Port)
	cfg.Inspect = settings.Inspect{
		TLS: []settings.PortRange{{First: port, Last: port}}, TLSIdleTimeout: time.Minute, IdleTimeout: time.Minute,
		HeadBytes: 8192, MaxConnections: 4096, MaxBytes: 16 << 20, RingBytes: ring,
	}
	g.probe, err = New(cfg, zaptest.NewLogger(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.probe.Close()) })
	require.NoError(t, g.probe.Start(g))
	for _, state := range g.probe.Hooks() {
		if state.Feature == hook.FeatureInspect {
			require.NoError(t, state.Err)
			require.True(t, state.Attached, state.Name)
		}
	}
	return g
}

// answer reads a question and answers it, if the handshake succeeds.
func answer(conn net.Conn, config *tls.Config) {
	defer conn.Close()
	server := tls.Server(conn, config)
	if _, err := io.ReadFull(server, make([]byte, 4)); err == nil {
		_, _ = server.Write([]byte("a rather long answer to a short question"))
	}
}

// dial connects on the thread of the test, which is in the namespace.
func (g *greeted) dial() (net.Conn, netip.AddrPort) {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.address)
	require.NoError(g.t, err)
	return conn, conn.LocalAddr().(*net.TCPAddr).AddrPort()
}

// ask is a client. What comes of its handshake is for the probe to say.
func ask(conn net.Conn, config *tls.Config) {
	defer conn.Close()
	client := tls.Client(conn, config)
	if _, err := client.Write([]byte("what")); err == nil {
		_, _ = io.Copy(io.Discard, client)
	}
}

func (g *greeted) client(name string, version uint16) *tls.Config {
	return &tls.Config{
		ServerName: name + ".shop.example", RootCAs: g.roots, NextProtos: []string{"h2", "http/1.1"},
		MinVersion: version, MaxVersion: version,
	}
}

// end detaches, and compares the books: what was produced was used, or is lost and counted.
func (g *greeted) end() (lost int64) {
	g.t.Helper()
	require.NoError(g.t, g.probe.Detach())
	require.NoError(g.t, g.probe.Drain(time.Now().Add(100*time.Millisecond)))
	snapshot, err := g.probe.Snapshot(func(*connection.Live) {})
	require.NoError(g.t, err)
	for _, n := range snapshot.Ledger.Lost[ledger.Segment] {
		lost += n
	}
	assert.EqualValues(g.t, snapshot.Ledger.Produced[ledger.Segment], int64(g.segments)+lost, "every segment is used or lost")
	assert.Empty(g.t, g.lost)
	return lost
}

// TestHandshakes: Go's client and server through the real programs, completed, resumed, retried
// and failed.
func TestHandshakes(t *testing.T) {
	g := startGreeted(t, 1<<20)
	_, others := certify(t, time.Now().Add(time.Hour))
	resuming := map[uint16]*tls.Config{}
	const v12, v13 = tls.VersionTLS12, tls.VersionTLS13
	for _, version := range []uint16{v12, v13} {
		resuming[version] = g.client("again", version)
		resuming[version].ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	distrusting := func(version uint16) *tls.Config {
		config := g.client("distrust", version)
		config.RootCAs = others
		return config
	}
	old := g.client("old", tls.VersionTLS11)
	for name, c := range map[string]struct {
		config   *tls.Config
		again    bool
		version  uint16
		resumed  bool
		kind, by string
	}{
		"1.2":           {config: g.client("a", v12), version: v12},
		"1.3":           {config: g.client("b", v13), version: v13},
		"1.2, resumed":  {config: resuming[v12], again: true, version: v12, resumed: true},
		"1.3, resumed":  {config: resuming[v13], again: true, version: v13, resumed: true},
		"1.2, refused":  {config: g.client("refused", v12), kind: "internal_error", by: "server"},
		"1.3, refused":  {config: g.client("refused", v13), kind: "internal_error", by: "server"},
		"1.2, distrust": {config: distrusting(v12), version: v12, kind: "bad_certificate", by: "client"},
		"1.3, distrust": {config: distrusting(v13), version: v13, kind: "closed", by: "client"},
		"no version":    {config: old, kind: "protocol_version", by: "server"},
		"a large hello": {config: large(g.client("large", v13)), version: v13},
	} {
		if c.again {
			conn, _ := g.dial()
			ask(conn, c.config)
		}
		conn, self := g.dial()
		ask(conn, c.config)
		var got handshake
		wire.Within(t, 10*time.Second, func() bool {
			g.probe.inspect.drain()
			var ok bool
			got, ok = g.got[self]
			return ok
		}, "%s: no handshake", name)
		assert.Equal(t, c.config.ServerName, got.name, name)
		kind := got.ErrorType()
		if c.kind == "closed" && kind == "reset" {
			kind = "closed" // with the server's records unread, the client's end is a reset
		}
		assert.Equal(t, c.kind, kind, name)
		assert.Equal(t, c.by, got.By.String(), name)
		assert.Equal(t, c.version, got.Version, name)
		assert.Equal(t, c.resumed, got.Resumed, name)
		assert.Len(t, got.ja3, seen.JA3Size, name)
		assert.Len(t, got.ja4, seen.JA4Size, name)
		assert.Equal(t, c.kind == "", got.Outcome == seen.OutcomeCompleted, name)
	}
	assert.Zero(t, g.end())
}

// large makes a hello of several packets: it offers many protocols.
func large(config *tls.Config) *tls.Config {
	for i := range 100 {
		config.NextProtos = append(config.NextProtos, fmt.Sprintf("%s%d", strings.Repeat("x", 200), i))
	}
	return config
}

// TestHandshakesWithoutRoom: with a ring buffer of 4 KiB records are lost. No handshake has a
// value of another, and the books balance.
func TestHandshakesWithoutRoom(t *testing.T) {
	g := startGreeted(t, 4096)
	const rounds, clients = 10, 8
	names := map[netip.AddrPort]*tls.Config{}
	for round := range rounds {
		done := make(chan struct{})
		begin := func(config *tls.Config) {
			conn, self := g.dial()
			names[self] = config
			go func() {
				ask(conn, config)
				done <- struct{}{}
			}()
		}
		for client := range clients {
			version := uint16(tls.VersionTLS12 + client%2)
			begin(g.client(fmt.Sprintf("n%d-%d", round, client), version))
		}
		for range clients {
			<-done
		}
		g.probe.inspect.drain()
		// One client alone has room, if it is read meanwhile.
		begin(g.client(fmt.Sprintf("alone%d", round), tls.VersionTLS12))
		for open := true; open; {
			select {
			case <-done:
				open = false
			case <-time.After(time.Millisecond):
			}
			g.probe.inspect.drain()
		}
	}
	g.probe.inspect.table.Finish()
	lost := g.end()
	assert.NotZero(t, lost)
	assert.NotEmpty(t, g.got)
	whole := 0
	for self, got := range g.got {
		config := names[self]
		require.NotNil(t, config, "nobody asked from %v", self)
		if got.Offered {
			whole++
			assert.Equal(t, config.ServerName, got.name)
		}
		if got.Version != 0 {
			assert.Equal(t, config.MaxVersion, got.Version)
		}
		assert.Empty(t, got.ErrorType(), "all were completed")
	}
	assert.NotZero(t, whole)
	t.Logf("%d segments lost; of %d handshakes %d reported, %d with their hello", lost, len(names), len(g.got), whole)
}
