// SPDX-License-Identifier: Apache-2.0

package tlsview

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/forwarded"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

// TestClientOfTrustedProxies: a header of the PROXY protocol counts if the socket's peer is
// trusted.
func TestClientOfTrustedProxies(t *testing.T) {
	peer := facttest.Handshake().Client
	named := netip.MustParseAddrPort("203.0.113.9:4711")
	for name, c := range map[string]struct {
		trusted []string
		named   netip.AddrPort
		want    netip.AddrPort
	}{
		"nobody is trusted":       {nil, named, peer},
		"another is trusted":      {[]string{"192.0.2.0/24"}, named, peer},
		"the peer is trusted":     {[]string{peer.Addr().String()}, named, named},
		"trusted, without header": {[]string{peer.Addr().String()}, netip.AddrPort{}, peer},
	} {
		t.Run(name, func(t *testing.T) {
			trust, err := forwarded.NewTrust(c.trusted)
			require.NoError(t, err)
			h := facttest.Handshake()
			h.Proxied = c.named
			assert.Equal(t, c.want, New(Options{Trust: trust}).Of(h).Client)
		})
	}
}

// TestPatternsHideNames: patterns reach every text that a client or a server chose.
func TestPatternsHideNames(t *testing.T) {
	redact, err := privacy.New(privacy.Options{Patterns: []string{`tenant-[0-9]+`}})
	require.NoError(t, err)
	v := New(Options{Redact: redact})
	h := facttest.Handshake()
	h.Hello.Name = []byte("tenant-17.shop.example")
	h.Hello.Protocols = []byte("\x02h2\x09tenant-17")
	h.Protocol = []byte("tenant-17")
	view := v.Of(h)
	assert.Equal(t, "REDACTED.shop.example", string(view.Name))
	assert.Equal(t, [][]byte{[]byte("h2"), []byte("REDACTED")}, view.Offers)
	assert.Equal(t, "REDACTED", string(view.Protocol))
	assert.Equal(t, []string{"tls.server_name", "tls.protocol"}, view.Redacted)
	assert.Empty(t, v.Of(facttest.Handshake()).Redacted)
}

// TestOffersAreBounded: however many protocols a hello offers.
func TestOffersAreBounded(t *testing.T) {
	h := facttest.Handshake()
	for range 1000 {
		h.Hello.Protocols = append(h.Hello.Protocols, "\x01x"...)
	}
	view := New(Options{}).Of(h)
	assert.Len(t, view.Offers, MaxOffers)
	assert.Equal(t, "shop.example", string(view.Name))
}

// TestViewsDoNotAllocate: all memory is kept for the next view. Without patterns, because the
// regexp package lets go of its memory at random under the race detector.
func TestViewsDoNotAllocate(t *testing.T) {
	trust, err := forwarded.NewTrust([]string{"10.0.0.0/8"})
	require.NoError(t, err)
	v := New(Options{Trust: trust})
	h := facttest.Handshake()
	v.Of(h)
	assert.Zero(t, testing.AllocsPerRun(100, func() { v.Of(h) }))
}
