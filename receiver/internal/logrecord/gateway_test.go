// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/gateway"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

const (
	kongPort = 8000
	kongID   = "f6a5c1d2e3f4a5b6c7d8e9f0a1b2c3d4"
)

// kongExchange is a request to Kong, whose answer has every field that is known.
func kongExchange() *request.Exchange {
	e := facttest.Exchange()
	e.Server = netip.AddrPortFrom(e.Server.Addr(), kongPort)
	say := func(f gateway.Field, value string) {
		e.Answer.SetFields(append(e.Answer.Fields(), request.Field{Name: []byte(f.Header()), Value: []byte(value)})...)
	}
	for f := range gateway.Fields {
		say(f, "7")
	}
	say(gateway.Version, "1.1 kong/3.9.1")
	say(gateway.RequestID, kongID)
	return e
}

// upstreamExchange is what Kong made of it.
func upstreamExchange() *request.Exchange {
	e := facttest.Exchange()
	e.ID = 9 << 19
	e.Request.Began, e.Answer.Ended = facttest.Epoch+2e6, facttest.Epoch+9e6
	for name, value := range map[string]string{
		"X-Kong-Request-Id": kongID, "X-Consumer-Id": "b1", "X-Consumer-Username": "alice\x01",
		"X-Consumer-Custom-Id": "c2", "X-Consumer-Groups": "a, b", "X-Anonymous-Consumer": "false",
	} {
		withField(e, name, value)
	}
	return e
}

// TestGatewayAttributes: a field has one name, in the domain and in the declaration.
func TestGatewayAttributes(t *testing.T) {
	for f := range gateway.Fields {
		assert.Equal(t, f.Key(), gatewayAttributes[f].Key())
	}
}

func TestGatewayRecord(t *testing.T) {
	got := requestRecord(t, kongExchange()).Attributes().AsRaw()
	for key, want := range map[string]any{
		"tcp.gateway.name": "kong", "tcp.gateway.version": "3.9.1", "tcp.gateway.request.id": kongID,
		"tcp.gateway.proxy.duration": 0.007, "tcp.gateway.upstream.status_code": int64(7),
		"tcp.gateway.rate_limit.minute.remaining": int64(7), "tcp.gateway.rate_limit.reset": float64(7),
		"tcp.gateway.own.duration": 0.005, "tcp.gateway.upstream.attempts": int64(1),
		"user.id": "b1", "user.name": "alice\uFFFD", "tcp.gateway.consumer.anonymous": false,
	} {
		assert.Equal(t, want, got[key], key)
	}
	assert.NotEqual(t, got["tcp.connection.id"], got["tcp.gateway.upstream.connection.id"])
	assert.Contains(t, got, "tcp.gateway.upstream.connection.id")
}

// TestUpstreamRecord: the fields of a request are the word of a trusted proxy, or nobody's.
func TestUpstreamRecord(t *testing.T) {
	got := requestRecord(t, upstreamExchange()).Attributes().AsRaw()
	assert.Equal(t, "kong", got["tcp.gateway.name"])
	assert.Equal(t, kongID, got["tcp.gateway.request.id"])
	assert.Equal(t, "b1", got["user.id"])
	assert.NotContains(t, got, "tcp.gateway.own.duration")

	forged := upstreamExchange()
	forged.Client = netip.MustParseAddrPort("192.0.2.66:1000")
	got = requestRecord(t, forged).Attributes().AsRaw()
	for _, key := range []string{"tcp.gateway.name", "tcp.gateway.request.id", "user.id", "user.name"} {
		require.NotContains(t, got, key)
	}
}
