// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/literal"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
)

// request is one request through a proxy or without.
func (l *lab) request(from netip.Addr, path string, status int64) {
	l.feed(reading.Record{Event: reading.HTTPRequest, Client: from, Peer: from, Server: server, Port: 80, Path: path, Status: status})
	l.pass(100 * time.Millisecond)
}

func TestDeniedRequests(t *testing.T) {
	l := newLab(t)
	for range 12 {
		l.request(attacker, "/login", 401)
	}
	f := l.only(catalogue.HTTPAuth, attacker)
	assert.False(t, f.Spoofable)
}

func TestPathsThatDoNotExist(t *testing.T) {
	l := newLab(t)
	for _, path := range []string{"/.env", "/.git/config", "/wp-login.php", "/admin", "/a", "/b", "/c", "/d", "/e", "/f", "/g"} {
		for range 3 {
			l.request(attacker, path, 404)
		}
	}
	l.only(catalogue.HTTPProbing, attacker)

	// A crawler finds a dead link now and then.
	l = newLab(t)
	for i := range 2000 {
		status := int64(200)
		if i%10 == 0 {
			status = 404
		}
		l.request(client, "/page/"+time.Duration(i).String(), status)
	}
	l.nothing()
}

func TestAProxysWordCanBeForged(t *testing.T) {
	l := newLab(t)
	for range 12 {
		l.feed(reading.Record{Event: reading.HTTPRequest, Client: attacker, Peer: client, Server: server, Port: 80, Status: 401})
	}
	f := l.only(catalogue.HTTPAuth, attacker)
	assert.True(t, f.Spoofable)
	assert.Equal(t, client, f.Peer)
}

func TestListedFingerprints(t *testing.T) {
	l := newLab(t, func(c *engine.Config) { c.Lists = map[string]string{"t13d1516h2_8daaf6152771_b186095e22b6": "a tool"} })
	for _, ja4 := range []string{"t13d1516h2_8daaf6152771_b186095e22b7", "", "t13d1516h2_8daaf6152771_b186095e22b6"} {
		l.feed(reading.Record{Event: reading.TLSHandshake, Client: attacker, Peer: attacker, Server: server, Port: 443, JA4: ja4})
	}
	f := l.only(catalogue.TLSFingerprint, attacker)
	require.Equal(t, "a tool", f.Label)
	assert.Equal(t, uint64(1), f.Count)
}

// asked is a request with further attributes.
func (l *lab) asked(from netip.Addr, status int64, attributes map[string]any) {
	l.t.Helper()
	r := reading.Record{
		Event: reading.HTTPRequest, Client: from, Peer: from, Server: server, Port: 80, Status: status, Attributes: pcommon.NewMap(),
	}
	require.NoError(l.t, r.Attributes.FromRaw(attributes))
	if user, ok := attributes["user.name"].(string); ok {
		r.UserName = user
	}
	l.feed(r)
}

func basicOf(user, password string) map[string]any {
	return map[string]any{"http.request.header.authorization": []any{
		"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)),
	}}
}

// TestOneAddressAgainstManyUsers: two minutes apart, so that the bucket of requests never fills.
func TestOneAddressAgainstManyUsers(t *testing.T) {
	for name, who := range map[string]func(i int) map[string]any{
		"Basic": func(i int) map[string]any { return basicOf(fmt.Sprint("user", i), "Summer2026") },
		"user":  func(i int) map[string]any { return map[string]any{"user.name": fmt.Sprint("user", i)} },
		"Bearer": func(i int) map[string]any {
			return map[string]any{"http.request.header.authorization": []any{fmt.Sprint("Bearer ", i)}}
		},
		"API key": func(i int) map[string]any {
			return map[string]any{"http.request.header.x-api-key": []any{fmt.Sprint("key", i)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			for i := range 9 {
				l.asked(attacker, 401, who(i))
				l.pass(2 * time.Minute)
			}
			l.nothing()
			l.asked(attacker, 403, who(9))
			f := l.only(catalogue.HTTPAuth, attacker)
			assert.Equal(t, uint64(10), f.Count)
			assert.Contains(t, f.Facts, finding.Fact{Key: catalogue.FactUsers, Value: 10})
			assert.False(t, f.Spoofable)
		})
	}
}

// TestOneUserAgainstManyAddresses: the set is named, and the user.
func TestOneUserAgainstManyAddresses(t *testing.T) {
	l := newLab(t)
	for i := range 10 {
		for range 2 {
			l.asked(many(i), 401, basicOf("alice", fmt.Sprint("guess", i)))
			l.pass(time.Minute)
		}
	}
	f := l.only(catalogue.HTTPAuth, netip.Addr{})
	assert.Equal(t, "alice", f.User)
	assert.Equal(t, 10, f.SourceCount)
	assert.Len(t, f.Sources, 10)
	assert.False(t, f.Spoofable)

	// Behind a proxy, addresses are the proxy's word, and a token is never told.
	l = newLab(t)
	for i := range 12 {
		r := reading.Record{Event: reading.HTTPRequest, Client: many(i), Peer: client, Server: server, Port: 80, Status: 401, Attributes: pcommon.NewMap()}
		r.Attributes.PutEmptySlice("http.request.header.authorization").AppendEmpty().SetStr("Bearer secret")
		l.feed(r)
	}
	f = l.only(catalogue.HTTPAuth, netip.Addr{})
	assert.Empty(t, f.User)
	assert.True(t, f.Spoofable)
}

// TestUsersOutliveARestart: the sources of a user, and the users of a source.
func TestUsersOutliveARestart(t *testing.T) {
	first := newLab(t)
	for i := range 9 {
		first.asked(many(i), 401, basicOf("alice", "guess"))
		first.asked(attacker, 401, basicOf(fmt.Sprint("user", i), "guess"))
	}
	first.nothing()

	second := newLab(t)
	second.now = first.now
	second.Restore(first.Save())
	second.asked(many(9), 401, basicOf("alice", "guess"))
	f := second.only(catalogue.HTTPAuth, netip.Addr{})
	assert.Equal(t, "alice", f.User)
	assert.Equal(t, 10, f.SourceCount)
	assert.Len(t, f.Sources, 10)
	second.asked(attacker, 401, basicOf("user9", "guess"))
	second.only(catalogue.HTTPAuth, attacker)

	third := newLab(t)
	third.now = second.now
	third.Restore(second.Save())
	third.asked(many(10), 401, basicOf("alice", "guess"))
	third.nothing()
}

func many(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 7, byte(i >> 8), byte(i)}) }

// TestPeopleWhoMistype: an office behind one address, and a person who moves. So is what is hidden.
func TestPeopleWhoMistype(t *testing.T) {
	l := newLab(t)
	for i := range 300 {
		user := basicOf(fmt.Sprint("user", i), "x")
		if i%10 == 0 {
			l.asked(client, 401, user)
		}
		l.asked(client, 200, user)
		l.pass(30 * time.Second)
	}
	for i := range 30 {
		l.asked(many(i), 200, basicOf("alice", "right"))
		if i%3 == 0 {
			l.asked(many(i), 401, basicOf("alice", "wrong"))
		}
		l.asked(many(i), 401, map[string]any{"http.request.header.authorization": []any{"REDACTED"}})
		l.asked(many(i), 404, basicOf("alice", "right"))
		l.pass(time.Minute)
	}
	l.nothing()
}

// TestManyUsersAreBounded: more users than the tables have room for, from more sources.
func TestManyUsersAreBounded(t *testing.T) {
	l := newLab(t)
	for i := range 20_000 {
		l.asked(many(i), 401, map[string]any{"user.name": fmt.Sprint("user", i)})
		l.asked(attacker, 401, map[string]any{"user.name": fmt.Sprint("user", i)})
		if i%50 == 0 {
			l.asked(many(i), 401, map[string]any{"user.name": "root"})
		}
	}
	totals := l.Totals()
	assert.LessOrEqual(t, totals.Identities, 256)
	assert.Positive(t, totals.DisplacedIdentities[0])
	var root bool
	for _, f := range l.settle() {
		root = root || f.User == "root"
	}
	assert.True(t, root, "the one user was displaced")
}

func (l *lab) handshake(from netip.Addr, ja4 string) {
	l.feed(reading.Record{Event: reading.TLSHandshake, Client: from, Peer: from, Server: server, Port: 443, JA4: ja4})
}

func TestRareFingerprints(t *testing.T) {
	rare := func(c *engine.Config) { c.Rules.TLSFingerprint.Rare = true }
	l := newLab(t, rare)
	l.handshake(attacker, "t13d1516h2_8daaf6152771_000000000000") // before there were enough
	for i := range 3000 {
		l.handshake(many(i%200), fmt.Sprintf("t13d1516h2_8daaf6152771_%012d", 1+i%5))
	}
	l.nothing()
	l.handshake(attacker, "t12d0303h0_8daaf6152771_b186095e22b6")
	f := l.only(catalogue.TLSFingerprint, attacker)
	assert.Equal(t, "t12d0303h0_8daaf6152771_b186095e22b6", f.Fingerprint)
	assert.Contains(t, f.Facts, finding.Fact{Key: catalogue.FactHandshakes, Value: 3002})
	assert.Less(t, f.Confidence, 0.5)

	// A new version of a browser begins rare, and is not when many have it.
	for i := range 100 {
		l.handshake(many(i%50), "t13d1517h2_8daaf6152771_b186095e22b6")
	}
	told := len(l.settle())
	assert.LessOrEqual(t, told, 4)
	for i := range 1000 {
		l.handshake(many(500+i%50), "t13d1517h2_8daaf6152771_b186095e22b6")
	}
	l.nothing()

	// Random fingerprints fill the counters: what was displaced is no longer taken for rare.
	l = newLab(t, rare)
	for i := range 50_000 {
		l.handshake(many(i%20), fmt.Sprintf("t13d1516h2_8daaf6152771_%012d", i))
	}
	service := l.ServiceAt(reading.Mix(0), 443)
	require.NotNil(t, service)
	assert.LessOrEqual(t, len(service.Prints.All), 128)

	l = newLab(t)
	for range 5000 {
		l.handshake(client, "t13d1516h2_8daaf6152771_000000000000")
	}
	l.handshake(attacker, "t12d0303h0_8daaf6152771_b186095e22b6")
	l.nothing()
}

func TestLiteralSignatures(t *testing.T) {
	set, err := literal.New([]literal.Literal{
		{Name: "jndi", Text: "${jndi:"}, {Name: "traversal", Text: "../../"}, {Name: "tool", Text: "EvilScanner"}, {Name: "zero", Text: "\x00\x01"},
	})
	require.NoError(t, err)
	for name, attributes := range map[string]map[string]any{
		"path":       {"url.path": "/a/../../etc/passwd"},
		"encoded":    {"url.path": "/%2e%2e/%2E%2e%2fetc"},
		"query":      {"url.query": "x=%24%7BJndi:ldap"},
		"header":     {"http.request.header.user-agent": []any{"evilscanner/1"}},
		"raw body":   {"tcp.http.request.body.raw": "a=${jndi:x"},
		"bytes":      {"tcp.http.request.body.raw": []byte{7, 0, 1, 9}},
		"structured": {"tcp.http.request.body.structured": map[string]any{"a": []any{map[string]any{"b": "${JNDI:"}}}},
		"a name":     {"tcp.http.request.body.structured": map[string]any{"${jndi:x}": int64(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, func(c *engine.Config) {
				c.Literals, c.Rules.LiteralSignature.Headers = set, []string{"User-Agent"}
			})
			l.asked(attacker, 200, attributes)
			f := l.only(catalogue.LiteralSignature, attacker)
			assert.Len(t, f.Signatures, 1)
			assert.Equal(t, uint64(1), f.Count)
		})
	}
	l := newLab(t, func(c *engine.Config) { c.Literals = set })
	l.asked(client, 200, map[string]any{
		"url.path": "/a/../b", "http.request.header.user-agent": []any{"evilscanner"}, "http.response.header.x": []any{"${jndi:"},
		"http.request.method": "${jndi:",
	})
	l.nothing()
}
