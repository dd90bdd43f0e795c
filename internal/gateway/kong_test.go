// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// fields makes header fields from names and values in turn.
func fields(pairs ...string) []request.Field {
	var all []request.Field
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, request.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return all
}

func text(field Field, s string) Value { return Value{Field: field, Text: []byte(s)} }

func TestKongAnswer(t *testing.T) {
	t.Parallel()
	e := &request.Exchange{}
	e.Request.SetFields(fields("X-Consumer-Username", "forged", "X-Kong-Request-Id", "forged", "Via", "kong/forged")...)
	e.Answer.SetFields(fields(
		"Server", "nginx", "X-Consumer-ID", "the upstream's",
		"X-Kong-Upstream-Latency", "26", "x-kong-proxy-latency", "2", "X-Kong-Response-Latency", "0",
		"Via", "1.0 cache, 1.1 Kong/3.9.1-ee", "X-Kong-Upstream-Status", "502",
		"X-Kong-Request-Id", "f6a5", "X-RateLimit-Limit-Minute", "5", "X-RateLimit-Remaining-Minute", "4",
		"RateLimit-Limit", "5, 5;w=60", "RateLimit-Remaining", "4;x", "RateLimit-Reset", "31", "Retry-After", "7",
		"X-RateLimit-Limit-Lightyear", "1", "X-Other", "1",
	)...)
	want := []Value{
		{Field: UpstreamDuration, Float: 0.026},
		{Field: ProxyDuration, Float: 0.002},
		{Field: ResponseDuration},
		text(Version, "3.9.1-ee"),
		{Field: UpstreamStatus, Int: 502},
		text(RequestID, "f6a5"),
		{Field: RateLimitMinute, Int: 5},
		{Field: RateRemainingMinute, Int: 4},
		{Field: RateLimit, Int: 5},
		{Field: RateRemaining, Int: 4},
		{Field: RateReset, Float: 31},
		{Field: RetryAfter, Float: 7},
	}
	assert.Equal(t, want, AppendKong(nil, e, ClientSide))
	before := []Value{text(RequestID, "earlier")}
	assert.Equal(t, append(before, want...), AppendKong(before, e, ClientSide), "what was there stays")
}

func TestKongUpstream(t *testing.T) {
	t.Parallel()
	e := &request.Exchange{}
	e.Request.SetFields(fields(
		"X-Consumer-ID", "b1", "X-Consumer-Custom-ID", "c2", "X-Consumer-Username", "alice", "X-Consumer-Groups", "a, b",
		"X-Anonymous-Consumer", "true", "X-Kong-Request-Id", "f6a5", "X-Kong-Proxy-Latency", "3", "Via", "kong/1",
	)...)
	e.Answer.SetFields(fields("X-Kong-Upstream-Latency", "26")...)
	assert.Equal(t, []Value{
		text(UserID, "b1"), text(ConsumerCustomID, "c2"), text(UserName, "alice"), text(ConsumerGroups, "a, b"),
		{Field: ConsumerAnonymous, Bool: true},
		text(RequestID, "f6a5"),
	}, AppendKong(nil, e, UpstreamSide))
}

func TestKongAbsent(t *testing.T) {
	t.Parallel()
	e := &request.Exchange{}
	e.Answer.SetFields(fields(
		"X-Kong-Upstream-Latency", "", "X-Kong-Proxy-Latency", "-1", "X-Kong-Response-Latency", "1e3", "X-Kong-Upstream-Status", "ok",
		"Via", "1.1 varnish", "via", "1.1 notkong/1", "VIA", "kong/", "Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT",
		"RateLimit-Limit", "99999999999999999999", "x", "y", "", "z",
	)...)
	assert.Empty(t, AppendKong(nil, e, ClientSide))
}

func TestLastValueCounts(t *testing.T) {
	t.Parallel()
	e := &request.Exchange{}
	e.Answer.SetFields(fields("X-Kong-Proxy-Latency", "1", "X-Kong-Proxy-Latency", "7", "X-Kong-Proxy-Latency", "x")...)
	assert.Equal(t, []Value{{Field: ProxyDuration, Float: 0.007}}, AppendKong(nil, e, ClientSide))
}

func TestFields(t *testing.T) {
	t.Parallel()
	keys, headers := map[string]bool{}, map[string]bool{}
	for f := range Fields {
		assert.NotEmpty(t, f.Key(), f)
		assert.NotEmpty(t, f.Header(), f)
		assert.False(t, keys[f.Key()], f.Key())
		assert.False(t, headers[f.Header()], f.Header())
		keys[f.Key()], headers[f.Header()] = true, true
	}
	assert.Empty(t, Fields.Key())
}

func TestAppendKongAllocatesNothing(t *testing.T) {
	e := &request.Exchange{}
	e.Answer.SetFields(fields("Content-Type", "a", "X-Kong-Upstream-Latency", "26", "Via", "1.1 kong/3.9.1")...)
	buffer := make([]Value, 0, 8)
	assert.Zero(t, testing.AllocsPerRun(100, func() { AppendKong(buffer, e, ClientSide) }))
}

func BenchmarkAppendKong(b *testing.B) {
	e := &request.Exchange{}
	e.Answer.SetFields(fields("Content-Type", "a", "Content-Length", "1", "Date", "x", "Server", "y", "X-Kong-Upstream-Latency", "26",
		"X-Kong-Proxy-Latency", "1", "Via", "1.1 kong/3.9.1", "X-Kong-Request-Id", "f6a5")...)
	buffer := make([]Value, 0, 8)
	b.ReportAllocs()
	for b.Loop() {
		AppendKong(buffer, e, ClientSide)
	}
}
