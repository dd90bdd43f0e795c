// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

const kongID = "X-Kong-Request-Id"

// exchange is one from begin to end, with fields in its request and its answer.
func exchange(connection uint64, begin, end int64, asked, answered []request.Field) *request.Exchange {
	e := &request.Exchange{Status: 200, Finished: end}
	e.ID = connection
	e.Server = netip.MustParseAddrPort("127.0.0.1:9000")
	e.Request.Began, e.Answer.Ended = begin, end
	e.Request.SetFields(asked...)
	e.Answer.SetFields(answered...)
	return e
}

func tie(limit int) *Tie { return NewTie(DefaultNames(), limit, time.Second) }

func TestTie(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name            string
		upstream, asked []request.Field
		answered        []request.Field
		want            bool
	}{
		{"Kong's id in the answer", fields(kongID, "0123456789"), nil, fields(kongID, "0123456789"), true},
		{"the upstream's word before Kong's", fields(kongID, "0123456789"), nil, fields(kongID, "9876543210", kongID, "0123456789"), true},
		{"both ids, the answer lacks one", fields(kongID, "0123456789", "X-Request-Id", "abcdefghij"), nil, fields("X-Request-Id", "abcdefghij"), true},
		{"the client's id", fields("x-request-id", "abcdefghij"), fields("X-Request-ID", "abcdefghij"), nil, true},
		{"both ids on both sides", fields(kongID, "0123456789", "X-Request-Id", "abcdefghij"), fields("X-Request-Id", "abcdefghij"), fields(kongID, "0123456789"), true},
		{"the same id in two fields", fields(kongID, "0123456789", "X-Request-Id", "0123456789"), nil, fields("X-Request-Id", "0123456789"), true},
		{"other ids", fields(kongID, "0123456789"), nil, fields(kongID, "0123456780"), false},
		{"the client's id, but another of Kong", fields(kongID, "0123456789", "X-Request-Id", "abcdefghij"), fields("X-Request-Id", "abcdefghij"), fields(kongID, "9876543210"), false},
		{"the client's id, Kong's on one side", fields("X-Request-Id", "abcdefghij"), fields("X-Request-Id", "abcdefghij"), fields(kongID, "9876543210"), true},
		{"another field", fields(kongID, "0123456789"), nil, fields("X-Request-Id", "0123456789"), false},
		{"no ids", nil, nil, nil, false},
		{"short ids", fields(kongID, "1"), nil, fields(kongID, "1"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			tie := tie(16)
			tie.Hold(exchange(7, 110, 150, test.upstream, nil), 200)
			client := exchange(5, 100, 200, test.asked, test.answered)
			got, found := tie.Take(client, 300)
			require.Equal(t, test.want, found)
			if found {
				assert.Empty(t, got.Said)
				got.Said = nil
				assert.Equal(t, Upstream{Connection: 7, Port: 9000, Status: 200, Began: 110, Ended: 150, Busy: 40, Attempts: 1}, got)
				assert.EqualValues(t, 60, got.Share(100))
				assert.Zero(t, got.Share(10))
				assert.EqualValues(t, 1, tie.Figures().Tied)
			}
			_, again := tie.Take(client, 300)
			assert.False(t, again, "an upstream request is tied once")
		})
	}
}

func TestTieAttempts(t *testing.T) {
	t.Parallel()
	id := fields(kongID, "0123456789")
	tie := tie(16)
	tie.Hold(exchange(7, 110, 120, id, nil), 200)
	tie.Hold(exchange(8, 130, 150, id, nil), 200)
	got, found := tie.Take(exchange(5, 100, 200, nil, id), 300)
	require.True(t, found)
	got.Said = nil
	assert.Equal(t, Upstream{Connection: 8, Port: 9000, Status: 200, Began: 110, Ended: 150, Busy: 30, Attempts: 2}, got)
	assert.Equal(t, Figures{Tied: 1, Retried: 1}, tie.Figures())
}

// TestTieSaid: what Kong tells its upstream of the client comes with a tie, but only by the id
// that Kong's own answer has.
func TestTieSaid(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxSaid+1)
	said := append(fields(kongID, "0123456789", "X-Consumer-Username", "alice", "X-Consumer-Groups", long,
		"X-Anonymous-Consumer", "false", "X-Consumer-ID", "b1"), fields("X-Request-Id", "abcdefghij")...)
	for range 2 {
		tie := tie(2)
		tie.Hold(exchange(7, 110, 150, said, nil), 200)
		got, found := tie.Take(exchange(5, 100, 200, nil, fields(kongID, "0123456789")), 300)
		require.True(t, found)
		assert.Equal(t, []Value{text(UserName, "alice"), {Field: ConsumerAnonymous}, text(UserID, "b1")}, got.Said)

		tie.Hold(exchange(7, 110, 150, said, nil), 200)
		got, found = tie.Take(exchange(5, 100, 200, fields(kongID, "0123456789"), nil), 300)
		require.True(t, found)
		assert.Empty(t, got.Said, "a client can send this id, too")

		tie.Hold(exchange(7, 110, 150, said, nil), 200)
		got, found = tie.Take(exchange(5, 100, 200, nil, fields("X-Request-Id", "abcdefghij")), 300)
		require.True(t, found)
		assert.Empty(t, got.Said)
	}
}

func TestTieAmbiguous(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		id     []request.Field
		second int64
	}{
		"at the same time": {fields(kongID, "0123456789"), 115},
		"a client's id":    {fields("X-Request-Id", "0123456789"), 130},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tie := tie(16)
			tie.Hold(exchange(7, 110, 120, test.id, nil), 200)
			tie.Hold(exchange(8, test.second, 150, test.id, nil), 200)
			for range 2 {
				_, found := tie.Take(exchange(5, 100, 200, nil, test.id), 300)
				assert.False(t, found)
			}
			assert.Equal(t, Figures{Held: 1, Ambiguous: 1}, tie.Figures())
			for i := range 16 {
				tie.Hold(exchange(7, 110, 120, fields(kongID, "abcdefghi"+strconv.Itoa(i)), nil), 200)
			}
			assert.Equal(t, Figures{Held: 16, Ambiguous: 2}, tie.Figures())
		})
	}
}

func TestTieTimes(t *testing.T) {
	t.Parallel()
	id := fields(kongID, "0123456789")
	tie := tie(16)
	tie.Hold(exchange(7, 110, 150, id, nil), 200)
	_, found := tie.Take(exchange(5, 120, 200, nil, id), 300)
	assert.False(t, found, "it began before the client's request")
	_, found = tie.Take(exchange(5, 10, 100, nil, id), 300)
	assert.False(t, found, "it began after the client's request")
	_, found = tie.Take(exchange(5, 100, 200, nil, id), 200+int64(2*time.Second))
	assert.False(t, found, "too late")
	assert.Equal(t, Figures{Expired: 1}, tie.Figures())

	unknown := exchange(7, 0, 150, id, nil)
	tie.Hold(unknown, 200)
	assert.Zero(t, tie.Figures().Held, "without a duration")
}

func TestTieIsBounded(t *testing.T) {
	t.Parallel()
	tie := tie(100)
	id := func(i int) []request.Field { return fields(kongID, "0123456789-"+strconv.Itoa(i)) }
	for i := range 1000 {
		tie.Hold(exchange(uint64(i), 110, 150, id(i), nil), 200)
	}
	assert.Len(t, tie.slots, 100)
	assert.Len(t, tie.index, 100)
	assert.Equal(t, Figures{Held: 100, Displaced: 900}, tie.Figures())
	_, found := tie.Take(exchange(5, 100, 200, nil, id(899)), 300)
	assert.False(t, found)
	for i := 900; i < 1000; i++ {
		got, found := tie.Take(exchange(5, 100, 200, nil, id(i)), 300)
		assert.True(t, found)
		assert.EqualValues(t, i, got.Connection)
	}
	assert.Equal(t, Figures{Displaced: 900, Tied: 100}, tie.Figures())
	for i := range 250 {
		tie.Hold(exchange(uint64(i), 110, 150, id(i), nil), 200+int64(i)*int64(time.Second/50))
	}
	figures := tie.Figures()
	assert.EqualValues(t, 100, figures.Held)
	assert.EqualValues(t, 150, figures.Expired+figures.Displaced-900)
	assert.Positive(t, figures.Expired)
	assert.EqualValues(t, 1250, figures.Sum(), "the books balance")
}

func TestTieAllocatesNothing(t *testing.T) {
	tie := tie(8)
	id := fields(kongID, "0123456789", "X-Request-Id", "abcdefghij", "X-Consumer-Username", "alice")
	upstream, client := exchange(7, 110, 150, id, nil), exchange(5, 100, 200, nil, id)
	for range 32 {
		tie.Hold(upstream, 200)
		tie.Take(client, 300)
	}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		tie.Hold(upstream, 200)
		tie.Take(client, 300)
	}))
}

func BenchmarkTie(b *testing.B) {
	tie := tie(1024)
	id := fields(kongID, "0123456789abcdef0123456789abcdef")
	upstream, client := exchange(7, 110, 150, id, nil), exchange(5, 100, 200, nil, id)
	b.ReportAllocs()
	for b.Loop() {
		tie.Hold(upstream, 200)
		tie.Take(client, 300)
	}
}
