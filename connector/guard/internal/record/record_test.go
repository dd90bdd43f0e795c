// SPDX-License-Identifier: Apache-2.0

package record

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/plog"
)

func made(t *testing.T, event string, attributes map[string]any) plog.LogRecord {
	t.Helper()
	r := plog.NewLogRecord()
	r.SetEventName(event)
	assert.NoError(t, r.Attributes().FromRaw(attributes))
	return r
}

func TestReads(t *testing.T) {
	r := made(t, "tcp.server.threat", map[string]any{
		"security_rule.name": "login_guessing", "client.address": "::ffff:198.51.100.7", "tcp.threat.state": "begin",
		"tcp.threat.spoofable": false, "tcp.threat.evidence": 12, "tcp.block.ttl": 90, "tcp.block.reason": "because\x00",
		"tcp.threat.last.time_unix_nano": 5,
	})
	a, ok := Read(r)
	assert.True(t, ok)
	assert.Equal(t, Asked{
		Rule: "login_guessing", Reason: "because\uFFFD", Address: netip.MustParseAddr("198.51.100.7"), Marked: true,
		Evidence: 12, TTL: 90 * time.Second, Seen: 5,
	}, a)
}

// One forged header would ban whoever it names.
func TestReadsTheSocketsAddress(t *testing.T) {
	both := map[string]any{"security_rule.name": "x", "client.address": "203.0.113.1", "network.peer.address": "198.51.100.7"}
	one := map[string]any{"security_rule.name": "x", "client.address": "203.0.113.1"}
	for _, of := range []struct {
		event      string
		attributes map[string]any
		want       string
	}{
		{"tcp.server.threat", both, "198.51.100.7"},
		{"other", both, "198.51.100.7"},
		{"tcp.server.threat", one, "203.0.113.1"},
		{"other", one, "invalid IP"},
		{"", one, "invalid IP"},
		{"tcp.server.threat", map[string]any{"security_rule.name": "x", "network.peer.address": "host.example", "client.address": "203.0.113.1"}, "invalid IP"},
		{"tcp.server.threat", map[string]any{"security_rule.name": "x", "network.peer.address": "fe80::1%eth0"}, "invalid IP"},
		{"tcp.server.threat", map[string]any{"security_rule.name": "x", "network.peer.address": 7}, "invalid IP"},
	} {
		a, ok := Read(made(t, of.event, of.attributes))
		assert.True(t, ok)
		assert.Equal(t, of.want, a.Address.String(), "%s %v", of.event, of.attributes)
	}
}

func TestIgnores(t *testing.T) {
	for _, r := range []plog.LogRecord{
		made(t, "tcp.server.threat", nil),
		made(t, "tcp.server.connection.close", map[string]any{"client.address": "198.51.100.7"}),
		made(t, "tcp.server.threat", map[string]any{"security_rule.name": 7}),
		made(t, "tcp.server.threat", map[string]any{"security_rule.name": "x", "tcp.threat.state": "summary"}),
		made(t, "tcp.server.source.blocked", map[string]any{"security_rule.name": "x", "client.address": "198.51.100.7"}),
		made(t, "tcp.server.source.block_refused", map[string]any{"security_rule.name": "x", "client.address": "198.51.100.7"}),
	} {
		_, ok := Read(r)
		assert.False(t, ok, r.EventName())
	}
}

func TestBoundsWhatItReads(t *testing.T) {
	for given, want := range map[any]time.Duration{
		-1: 0, 0: 0, math.NaN(): 0, math.Inf(1): maxTTL * time.Second, math.MaxInt64: maxTTL * time.Second, 1.5: 1500 * time.Millisecond, "60": 0,
	} {
		a, ok := Read(made(t, "e", map[string]any{"security_rule.name": strings.Repeat("é", 1000), "tcp.block.ttl": given, "tcp.threat.evidence": -5}))
		assert.True(t, ok)
		assert.Equal(t, want, a.TTL, "%v", given)
		assert.LessOrEqual(t, len(a.Rule), maxRule+3)
		assert.Zero(t, a.Evidence)
	}
}
