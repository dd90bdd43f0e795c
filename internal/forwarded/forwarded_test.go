// SPDX-License-Identifier: Apache-2.0

package forwarded

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

var (
	proxy  = netip.MustParseAddrPort("10.0.0.1:4711")
	nobody netip.AddrPort
)

func trust(t testing.TB, prefixes ...string) *Trust {
	trust, err := NewTrust(prefixes)
	require.NoError(t, err)
	return trust
}

// fields makes header fields from names and values in turn.
func fields(pairs ...string) []request.Field {
	var all []request.Field
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, request.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return all
}

func client(address string, port uint16, source Source, scheme string, fault Fault) Client {
	return Client{Address: netip.MustParseAddr(address), Port: port, Source: source, Scheme: scheme, Fault: fault}
}

func TestFind(t *testing.T) {
	t.Parallel()
	const xff, fwd, proto, real = "X-Forwarded-For", "Forwarded", "X-Forwarded-Proto", "X-Real-IP"
	self := "10.0.0.1"
	for _, test := range []struct {
		name   string
		fields []request.Field
		want   Client
	}{
		{"nothing", nil, client(self, 4711, Socket, "", None)},
		{"one", fields(xff, "192.0.2.1"), client("192.0.2.1", 0, XForwardedFor, "", None)},
		{"the last untrusted", fields(xff, "6.6.6.6, 192.0.2.1, 10.9.9.9"), client("192.0.2.1", 0, XForwardedFor, "", None)},
		{"all trusted: the first", fields(xff, "10.3.0.1, 10.2.0.1"), client("10.3.0.1", 0, XForwardedFor, "", None)},
		{"several fields", fields(xff, "6.6.6.6", xff, "192.0.2.1", xff, "10.9.9.9"), client("192.0.2.1", 0, XForwardedFor, "", None)},
		{"empty elements", fields(xff, ", 192.0.2.1,, ,"), client("192.0.2.1", 0, XForwardedFor, "", None)},
		{"empty field", fields(xff, ""), client(self, 4711, Socket, "", None)},
		{"port", fields(xff, "192.0.2.1:1234"), client("192.0.2.1", 1234, XForwardedFor, "", None)},
		{"IPv6", fields(xff, "2001:db8::1"), client("2001:db8::1", 0, XForwardedFor, "", None)},
		{"IPv6 in brackets", fields(xff, "[2001:db8::1]"), client("2001:db8::1", 0, XForwardedFor, "", None)},
		{"IPv6 with a port", fields(xff, "[2001:db8::1]:80"), client("2001:db8::1", 80, XForwardedFor, "", None)},
		{"IPv4 in IPv6", fields(xff, "::ffff:192.0.2.1"), client("192.0.2.1", 0, XForwardedFor, "", None)},
		{"IPv4 in IPv6, trusted", fields(xff, "192.0.2.1, ::ffff:10.2.2.2"), client("192.0.2.1", 0, XForwardedFor, "", None)},
		{"malformed at the right", fields(xff, "192.0.2.1, evil"), client(self, 4711, Socket, "", Malformed)},
		{"malformed further left", fields(xff, "192.0.2.1, evil, 10.2.0.1"), client("10.2.0.1", 0, XForwardedFor, "", Malformed)},
		{"malformed, not reached", fields(xff, "evil, 192.0.2.1"), client("192.0.2.1", 0, XForwardedFor, "", None)},
		{"bad port", fields(xff, "192.0.2.1:99999"), client(self, 4711, Socket, "", Malformed)},
		{"no port behind the colon", fields(xff, "192.0.2.1:"), client(self, 4711, Socket, "", Malformed)},
		{"zone", fields(xff, "fe80::1%eth0"), client(self, 4711, Socket, "", Malformed)},
		{"brackets around IPv4", fields(xff, "[192.0.2.1]"), client(self, 4711, Socket, "", Malformed)},
		{"open bracket", fields(xff, "[2001:db8::1"), client(self, 4711, Socket, "", Malformed)},
		{"leading zeros", fields(xff, "192.0.2.010"), client(self, 4711, Socket, "", Malformed)},
		{"unknown", fields(xff, "unknown"), client(self, 4711, Socket, "", Hidden)},
		{"too many hops", fields(xff, "192.0.2.1"+strings.Repeat(",10.2.0.1", 64)), client("10.2.0.1", 0, XForwardedFor, "", Malformed)},
		{"Forwarded", fields(fwd, `for=192.0.2.60;proto=https;by=203.0.113.43`), client("192.0.2.60", 0, Forwarded, "https", None)},
		{"Forwarded, hops", fields(fwd, `for=6.6.6.6;proto=http, For="[2001:db8:cafe::17]:4711" ; Proto="HTTPS", for=10.2.0.1`), client("2001:db8:cafe::17", 4711, Forwarded, "https", None)},
		{"Forwarded, comma in quotes", fields(fwd, `for=192.0.2.60;ext="a,b\";c"`), client("192.0.2.60", 0, Forwarded, "", None)},
		{"Forwarded, made-up name", fields(fwd, `for="_gazonk"`), client(self, 4711, Socket, "", Hidden)},
		{"Forwarded, unknown", fields(fwd, `for=192.0.2.60, for=unknown`), client(self, 4711, Socket, "", Hidden)},
		{"Forwarded, unknown with a port", fields(fwd, `for="unknown:80"`), client(self, 4711, Socket, "", Hidden)},
		{"Forwarded, made-up port", fields(fwd, `for="192.0.2.60:_x"`), client("192.0.2.60", 0, Forwarded, "", None)},
		{"Forwarded without for", fields(fwd, `proto=https`), client(self, 4711, Socket, "", Malformed)},
		{"Forwarded, for twice", fields(fwd, `for=192.0.2.60;for=192.0.2.61`), client(self, 4711, Socket, "", Malformed)},
		{"Forwarded, no pair", fields(fwd, `192.0.2.60`), client(self, 4711, Socket, "", Malformed)},
		{"both agree", fields(fwd, `for=192.0.2.1`, xff, "192.0.2.1"), client("192.0.2.1", 0, XForwardedFor, "", None)},
		{"both disagree", fields(fwd, `for=6.6.6.6;proto=https`, xff, "192.0.2.1"), client("192.0.2.1", 0, XForwardedFor, "", Contradicting)},
		{"X-Real-IP", fields(real, "192.0.2.1", proto, "https"), client("192.0.2.1", 0, XRealIP, "https", None)},
		{"X-Real-IP beside a list", fields(real, "6.6.6.6", xff, "192.0.2.1"), client("192.0.2.1", 0, XForwardedFor, "", None)},
		{"X-Real-IP twice", fields(real, "192.0.2.1", real, "6.6.6.6"), client(self, 4711, Socket, "", Malformed)},
		{"X-Real-IP, a list", fields(real, "192.0.2.1, 6.6.6.6"), client(self, 4711, Socket, "", Malformed)},
		{"scheme", fields(xff, "192.0.2.1", proto, "HTTPS"), client("192.0.2.1", 0, XForwardedFor, "https", None)},
		{"scheme of a WebSocket", fields(xff, "192.0.2.1", proto, "wss"), client("192.0.2.1", 0, XForwardedFor, "https", None)},
		{"schemes by hop", fields(xff, "6.6.6.6, 192.0.2.1, 10.2.0.1", proto, "http, https, http"), client("192.0.2.1", 0, XForwardedFor, "https", None)},
		{"schemes of another number", fields(xff, "192.0.2.1", proto, "http, https"), client("192.0.2.1", 0, XForwardedFor, "https", None)},
		{"scheme alone", fields(proto, "https"), client(self, 4711, Socket, "https", None)},
		{"unknown scheme", fields(proto, "javascript"), client(self, 4711, Socket, "", Malformed)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, trust(t, "10.0.0.0/8").Find(proxy, nobody, test.fields))
		})
	}
}

func TestUntrusted(t *testing.T) {
	t.Parallel()
	all := fields("X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "https", "Forwarded", "for=192.0.2.1", "X-Real-IP", "192.0.2.1")
	peer := netip.MustParseAddrPort("198.51.100.7:1")
	want := client("198.51.100.7", 1, Socket, "", None)
	assert.Equal(t, want, trust(t, "10.0.0.0/8").Find(peer, proxy, all), "neither header fields nor PROXY protocol")
	assert.Equal(t, want, trust(t).Find(peer, proxy, all))
	mapped := netip.MustParseAddrPort("[::ffff:10.0.0.1]:1")
	assert.Equal(t, "192.0.2.1", trust(t, "10.0.0.0/8").Find(mapped, nobody, all).Address.String())
}

func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	all := fields("X-Forwarded-For", "192.0.2.1")
	trusted := trust(t, "10.0.0.0/8")
	assert.Equal(t, client("198.51.100.7", 5, ProxyProtocol, "", None),
		trusted.Find(proxy, netip.MustParseAddrPort("198.51.100.7:5"), all), "its client is not trusted, so the list is not read")
	assert.Equal(t, client("192.0.2.1", 0, XForwardedFor, "", None),
		trusted.Find(proxy, netip.MustParseAddrPort("10.7.0.1:5"), all))
	assert.Equal(t, client("10.7.0.1", 5, ProxyProtocol, "", Malformed),
		trusted.Find(proxy, netip.MustParseAddrPort("10.7.0.1:5"), fields("X-Forwarded-For", "?")))
}

func TestNewTrust(t *testing.T) {
	t.Parallel()
	for value, message := range map[string]string{
		"10.0.0.0/33":       "neither an address",
		"10.0.0.1/8":        "use 10.0.0.0/8",
		"::ffff:10.0.0.0/8": "neither an address", // netip refuses fewer than 96 bits
		"fe80::1%eth0":      "neither an address",
		"proxy.example.com": "neither an address",
		"":                  "neither an address",
	} {
		_, err := NewTrust([]string{"10.0.0.0/8", value})
		require.Error(t, err, value)
		assert.Contains(t, err.Error(), "entry 1", value)
		if value != "::ffff:10.0.0.0/8" {
			assert.ErrorContains(t, err, message, value)
		}
	}
	one := trust(t, "192.0.2.1", "2001:db8::/32", "::ffff:198.51.100.1")
	assert.False(t, one.Empty())
	for address, want := range map[string]bool{
		"192.0.2.1": true, "192.0.2.2": false, "::ffff:192.0.2.1": true, "2001:db8::9": true, "2001:db9::": false, "198.51.100.1": true,
	} {
		assert.Equal(t, want, one.Trusts(netip.MustParseAddr(address)), address)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for f := Malformed; f < Faults; f++ {
		assert.NotEmpty(t, f.String())
		assert.False(t, seen[f.String()])
		seen[f.String()] = true
	}
	assert.Empty(t, None.String())
}

// Whatever the fields say, the client is never beyond a hop that is not trusted.
func FuzzFind(f *testing.F) {
	f.Add("192.0.2.1, 10.1.1.1", `for="[2001:db8::1]:80";proto=https, for=10.2.2.2`, "https,http", "192.0.2.9")
	f.Add(`"`, `for="\"`, ",", "[")
	f.Add(`10.0.0.1,"10.0.0.1, 6.6.6.6"`, `;;for==`, "\"https\"", "::%1")
	trust := trust(f, "10.0.0.0/8")
	const good = "198.51.100.200"
	f.Fuzz(func(t *testing.T, xff, forwarded, proto, real string) {
		all := fields("X-Forwarded-For", xff, "Forwarded", forwarded, "X-Forwarded-Proto", proto, "X-Real-IP", real)
		for from := range all {
			trust.Find(proxy, nobody, all[from:])
		}
		// The trusted proxy appends what it saw. Nothing in front of that may matter.
		for _, appended := range [][]request.Field{
			fields("X-Forwarded-For", xff, "X-Forwarded-For", good),
			fields("Forwarded", forwarded, "Forwarded", "for="+good),
			fields("Forwarded", forwarded, "X-Forwarded-For", xff, "X-Forwarded-For", good),
		} {
			if got := trust.Find(proxy, nobody, appended).Address.String(); got != good {
				t.Fatalf("%q: the client is %s", appended, got)
			}
		}
	})
}

func TestFindAllocatesNothing(t *testing.T) {
	all := fields("X-Forwarded-For", "192.0.2.1, 10.2.2.2", "X-Forwarded-Proto", "https", "Forwarded", `for="[2001:db8::1]:80";proto=https`)
	trust := trust(t, "10.0.0.0/8")
	assert.Zero(t, testing.AllocsPerRun(100, func() { trust.Find(proxy, nobody, all) }))
}

func BenchmarkFind(b *testing.B) {
	all := fields("Host", "a", "X-Forwarded-For", "192.0.2.1, 10.2.2.2", "X-Forwarded-Proto", "https")
	trust := trust(b, "10.0.0.0/8")
	b.ReportAllocs()
	for b.Loop() {
		trust.Find(proxy, nobody, all)
	}
}
