// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const start = time.Hour

func source7(text string) netip.Prefix { return of(netip.MustParseAddr(text)) }

// host has a judge, and a clock.
type host struct {
	*testing.T
	j   *Judge
	now time.Duration
	id  uint64
}

func newHost(t *testing.T) *host { return &host{T: t, j: New(Defaults()), now: start} }

// serve ends connections of a source that were served well.
func (h *host) serve(address string, n int) {
	for range n {
		h.id++
		h.j.Add(&Record{Event: Closed, Source: source7(address), Served: true, Connection: h.id}, h.now)
	}
}

func (h *host) close(address string, n int) {
	for range n {
		h.j.Add(&Record{Event: Closed, Source: source7(address)}, h.now)
	}
}

func (h *host) judge(address string) Verdict { return h.j.Judge(source7(address), h.now) }

// crowd are many sources with few connections each.
func (h *host) crowd(n int) {
	for i := range n {
		h.close(fmt.Sprintf("10.0.%d.%d", i/250%250, i%250), 1)
	}
}

func TestALargeShareStandsForMany(t *testing.T) {
	h := newHost(t)
	h.close("192.0.2.1", 21)
	assert.Equal(t, Alone, h.judge("192.0.2.1").Why, "a part of a few connections means nothing")
	h.crowd(79)
	v := h.judge("192.0.2.1")
	assert.Equal(t, LargeShare, v.Why)
	assert.InDelta(t, 0.21, v.Share, 0.001)
	assert.True(t, v.Exempt())
	h.crowd(10)
	assert.False(t, h.judge("192.0.2.1").Exempt())
	assert.Equal(t, Verdict{}, h.judge("203.0.113.1"))
}

// TestManyClientsBehindOneAddress: with one scanner among them, it is reported and not blocked.
func TestManyClientsBehindOneAddress(t *testing.T) {
	h := newHost(t)
	h.crowd(5000)
	h.serve("192.0.2.1", 500)
	h.j.Evidence(source7("192.0.2.1"), 20, h.now)
	v := h.judge("192.0.2.1")
	assert.Equal(t, Verdict{Why: Served, Share: 500.0 / 5500, WellServed: 500, Evidence: 20}, v)
	h.j.Evidence(source7("192.0.2.1"), 31, h.now)
	assert.False(t, h.judge("192.0.2.1").Exempt(), "a tenth of what was served well")
	h.now += 11 * time.Minute
	assert.Equal(t, Alone, h.judge("192.0.2.1").Why)
}

func TestAnExemptionEnds(t *testing.T) {
	h := newHost(t)
	h.crowd(9000)
	h.serve("192.0.2.1", 3000)
	h.j.Evidence(source7("192.0.2.1"), 99, h.now)
	assert.True(t, h.judge("192.0.2.1").Exempt())
	h.j.Evidence(source7("192.0.2.1"), 1, h.now)
	v := h.judge("192.0.2.1")
	assert.True(t, v.Ended)
	assert.False(t, v.Exempt())

	h = newHost(t)
	for minute := range 70 {
		h.crowd(900)
		h.serve("192.0.2.1", 300)
		h.j.Evidence(source7("192.0.2.1"), 1, h.now)
		h.j.Opened(source7("192.0.2.1"), start, h.now)
		assert.Equal(t, minute < 60, h.judge("192.0.2.1").Exempt(), minute)
		h.now += time.Minute
	}
	h.j.Ended(source7("192.0.2.1"))
	h.j.Ended(source7("203.0.113.1"))
	assert.True(t, h.judge("192.0.2.1").Exempt())
}

// TestALoneAttackerIsNoCrowd: on a quiet host it makes most of the connections.
func TestALoneAttackerIsNoCrowd(t *testing.T) {
	h := newHost(t)
	h.serve("192.0.2.10", 5)
	h.serve("198.51.100.7", 200)
	h.j.Evidence(source7("198.51.100.7"), 200, h.now)
	v := h.judge("198.51.100.7")
	assert.Equal(t, LargeShare, v.Why)
	assert.False(t, v.Exempt())
	assert.False(t, h.j.Concentrated(h.now).Concentrated)
}

// TestAProxyInFrontOfEverything can't be blocked, whatever there is against those behind it.
func TestAProxyInFrontOfEverything(t *testing.T) {
	h := newHost(t)
	h.serve("192.0.2.1", 5000)
	h.serve("192.0.2.2", 4000)
	h.crowd(1000)
	assert.False(t, h.j.Concentrated(h.now).Concentrated, "they may be all the clients that the host has")
	h.j.Evidence(source7("10.0.0.1"), 300, h.now)
	assert.False(t, h.j.Concentrated(h.now).Concentrated, "who attacks is not behind them")
	h.j.Evidence(source7("192.0.2.1"), 300, h.now)
	crowd := h.j.Concentrated(h.now)
	assert.True(t, crowd.Concentrated)
	assert.Equal(t, []Carrier{{source7("192.0.2.1"), 0.5}, {source7("192.0.2.2"), 0.4}}, crowd.Carriers)
	v := h.judge("192.0.2.1")
	assert.Equal(t, Carries, v.Why)
	assert.True(t, v.Exempt())
	assert.False(t, h.judge("10.0.0.1").Exempt(), "who comes without the proxy can be blocked")
	h.now += time.Minute
	h.crowd(9000)
	assert.False(t, h.j.Concentrated(h.now).Concentrated, "each time is judged by itself")
}

func TestAProxyOfWhichOnlyCountsAreKnown(t *testing.T) {
	h := newHost(t)
	h.j.Add(&Record{Event: Counted, Source: netip.MustParsePrefix("192.0.2.1/32"), Completed: 950}, h.now)
	h.j.Add(&Record{Event: Counted, Completed: 50}, h.now)
	assert.Equal(t, LargeShare, h.judge("192.0.2.1").Why)
	h.j.Evidence(source7("192.0.2.1"), 7, h.now)
	assert.Equal(t, Verdict{Why: Carries, Share: 0.95, Evidence: 7}, h.judge("192.0.2.1"))
	// The same connections in both kinds of records don't count twice.
	h.now += time.Minute
	h.close("192.0.2.1", 100)
	h.crowd(900)
	assert.InDelta(t, 0.95, h.judge("192.0.2.1").Share, 0.001)
}

// TestNotReadyWithoutRecords: rules stay dry run until a whole window of records was seen, and when they stop.
func TestNotReadyWithoutRecords(t *testing.T) {
	h := newHost(t)
	assert.False(t, h.j.Ready(h.now))
	for minute := range 20 {
		h.crowd(1)
		assert.Equal(t, minute >= 10, h.j.Ready(h.now), minute)
		h.now += time.Minute
	}
	h.now += 8 * time.Minute
	assert.True(t, h.j.Ready(h.now))
	h.now += 2 * time.Minute
	assert.False(t, h.j.Ready(h.now))
	h.crowd(1)
	assert.False(t, h.j.Ready(h.now), "what was missed may have been a proxy's")
	for range 10 {
		h.now += time.Minute
		h.j.Seen(h.now)
	}
	assert.True(t, h.j.Ready(h.now))
	h.j.Add(&Record{Event: Answered, Source: source7("192.0.2.1")}, h.now+time.Hour)
	assert.False(t, h.j.Ready(h.now+time.Hour), "requests say nothing about shares")
}

func TestErrorsAreNotServedWell(t *testing.T) {
	h := newHost(t)
	for id := range uint64(100) {
		h.j.Add(&Record{Event: Answered, Source: source7("192.0.2.1"), Connection: id + 1, Error: id < 70}, h.now)
		h.j.Add(&Record{Event: Closed, Source: source7("192.0.2.1"), Connection: id + 1, Served: true}, h.now)
	}
	assert.Equal(t, int64(30), h.judge("192.0.2.1").WellServed)
	e := newErrorSet(10)
	for id := range uint64(100) {
		e.add(id, 0)
	}
	assert.Len(t, e.current, 5)
	assert.True(t, e.has(4, slots))
	assert.False(t, e.has(4, 3*slots))
	e.add(1, 4*slots)
	assert.False(t, e.has(1, 6*slots))
}

func TestServedWellInTheLastDay(t *testing.T) {
	h := newHost(t)
	assert.True(t, h.j.ServedWell(source7("192.0.2.2"), h.now), "nobody knows")
	h.now += 24*time.Hour - 1
	assert.True(t, h.j.ServedWell(source7("192.0.2.2"), h.now), "nobody knows the whole day")
	h.now++
	h.serve("192.0.2.1", 1)
	h.serve("2001:db8::1", 1)
	h.close("192.0.2.2", 1)
	served := func(address string) bool { return h.j.ServedWell(source7(address), h.now) }
	assert.True(t, served("192.0.2.1"))
	assert.True(t, served("2001:db8::2"), "the same network")
	assert.False(t, served("192.0.2.2"))
	h.now += 24 * time.Hour
	assert.True(t, served("192.0.2.1"))
	h.now += 24 * time.Hour
	assert.False(t, served("192.0.2.1"))
	h.serve("192.0.2.1", 1)
	h.now += 1000 * time.Hour
	assert.False(t, served("192.0.2.1"))
	s := newServedSet(4)
	for i := range 5 {
		s.add(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32), start)
	}
	assert.True(t, s.has(source7("203.0.113.1"), start), "without room for all, it may have been")
	assert.Len(t, s.current, 2)
}

// TestAFloodOfSources displaces no heavy one, exempts none of itself, and does not take our memory.
func TestAFloodOfSources(t *testing.T) {
	set := Defaults()
	set.Sources = 500
	h := newHost(t)
	h.j = New(set)
	h.serve("192.0.2.1", 600)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		h.close(netip.AddrFrom4([4]byte{10, byte(random.IntN(256)), byte(random.IntN(256)), byte(random.IntN(256))}).String(), 1)
	}
	assert.Equal(t, 500, h.j.Len())
	assert.Equal(t, Served, h.judge("192.0.2.1").Why)
	assert.Greater(t, h.j.Displaced, uint64(15_000))
	for key := range h.j.sources {
		if key != source7("192.0.2.1") {
			require.False(t, h.j.Judge(key, h.now).Exempt())
		}
	}
	h.now += 11 * time.Minute
	h.j.Tick(h.now)
	assert.Zero(t, h.j.Len())
}

// TestRings compares a ring with all that was added.
func TestRings(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var r ring
	added := map[int64]int64{}
	slot := int64(0)
	for range 5000 {
		if random.IntN(3) == 0 {
			slot += int64(random.IntN(8))
		}
		n := int64(random.IntN(5))
		r.add(n, slot)
		added[slot] += n
		var want int64
		for s, n := range added {
			if s > slot-slots {
				want += n
			}
		}
		require.Equal(t, want, r.total(slot))
	}
	r = ring{}
	for i := range int64(100) {
		r.add(1<<40, i)
		require.LessOrEqual(t, r.total(i), int64(1<<32-1))
	}
}
