// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package sources

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

const testNetNS = 4026531840

// noted adds up what was reported.
type noted struct {
	fact.Nop
	own, rest [source.Counts]uint64
}

func (n *noted) SourceSeen(s *source.Source) {
	sum := &n.own
	if s.Rest > 0 {
		sum = &n.rest
	}
	for c, count := range s.Counts {
		sum[c] += count
	}
}

func newVantage(t testing.TB, change func(*settings.Sources)) *Vantage {
	t.Helper()
	cfg := &settings.Config{Limits: settings.Limits{
		MaxConnections: 64, MaxListeners: 64, MaxHalfOpen: 64, MaxPortCounters: 64, RingBytes: 1 << 16, MaxNetworkNamespaces: 4,
	}}
	cfg.Sources = settings.Sources{
		Enabled: true, Records: true, Interval: time.Second, IPv6Prefix: 64, MaxSources: 1024, MaxRecords: 100, MinAttempts: 1,
		IdleTimeout: time.Minute,
	}
	change(&cfg.Sources)
	maps, err := shared.NewMaps(cfg)
	require.NoError(t, err)
	t.Cleanup(maps.Close)
	v, err := New(&Options{
		Config: cfg, Maps: maps.Maps, Shares: shared.NewShares(maps.Maps, shared.CapacitiesOf(cfg), testNetNS),
		Context: &record.Context{Sink: &noted{}}, Logger: zaptest.NewLogger(t),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, v.Close()) })
	require.NotNil(t, v.leaver.program, "the kernel refuses what makes sources leave")
	return v
}

// keyOf is a source of 198.18.0.0/15.
func keyOf(n uint32) shared.SourceKey {
	address := [16]byte{10: 0xff, 11: 0xff}
	binary.BigEndian.PutUint32(address[12:], 198<<24|18<<16+n)
	return shared.SourceKeyOf(&address, testNetNS, &[2]uint64{math.MaxUint64, 0})
}

// TestSourcesLeave: the mark changes nothing else, and more than one run marks more keys than fit in
// one.
func TestSourcesLeave(t *testing.T) {
	const sources = uint32(shared.LeaveAtOnce) + 5
	v := newVantage(t, func(*settings.Sources) {})
	var keys []shared.SourceKey
	for n := range sources {
		keys = append(keys, keyOf(n))
		require.NoError(t, v.reader.m.Put(&keys[n], &shared.Source{Counts: [source.Counts]uint32{3: n}}))
	}
	require.NoError(t, v.leaver.mark(append(keys[1:], keyOf(9999))))
	for n := range keys {
		var value shared.Source
		require.NoError(t, v.reader.m.Lookup(&keys[n], &value))
		want := shared.Source{Counts: [source.Counts]uint32{3: uint32(n)}, Leaving: 1}
		if n == 0 {
			want.Leaving = 0
		}
		require.Equal(t, want, value)
	}
}

// TestIdleSourcesEnd: what they did last is counted.
func TestIdleSourcesEnd(t *testing.T) {
	v := newVantage(t, func(*settings.Sources) {})
	key, now := keyOf(1), time.Now()
	require.NoError(t, v.reader.m.Put(&key, &shared.Source{Counts: [source.Counts]uint32{source.SYNClosed: 5}}))
	v.Pass(now)
	v.Pass(now.Add(2 * time.Minute))
	assert.ErrorIs(t, v.reader.m.Lookup(&key, new(shared.Source)), ebpf.ErrKeyNotExist)
	got := v.options.Context.Sink.(*noted)
	assert.EqualValues(t, 5, got.own[source.SYNClosed])
	assert.Zero(t, got.rest)
}

// TestMarkedSourcesEnd: of those that could not be deleted, what they do counts for the rest. So the next
// pass deletes them, idle or not.
func TestMarkedSourcesEnd(t *testing.T) {
	v := newVantage(t, func(*settings.Sources) {})
	keys, now := []shared.SourceKey{keyOf(1), keyOf(2), keyOf(3)}, time.Now()
	for i := range keys {
		require.NoError(t, v.reader.m.Put(&keys[i], &shared.Source{Counts: [source.Counts]uint32{source.SYNClosed: 5}}))
	}
	v.Pass(now)
	m, err := v.reader.m.Clone()
	require.NoError(t, err)
	require.NoError(t, m.Close())
	m, v.reader.m = v.reader.m, m
	require.Error(t, v.expire(keys[:2]), "a closed map")
	v.reader.m = m
	program, err := v.leaver.program.Clone()
	require.NoError(t, err)
	require.NoError(t, program.Close())
	program, v.leaver.program = v.leaver.program, program
	require.Error(t, v.expire(keys[1:]), "a closed program")
	v.leaver.program = program
	assert.Len(t, v.leaving, 3)
	v.Pass(now.Add(time.Second))
	for i := range keys {
		assert.ErrorIs(t, m.Lookup(&keys[i], new(shared.Source)), ebpf.ErrKeyNotExist)
	}
	assert.Empty(t, v.known)
	assert.Empty(t, v.leaving)
	assert.Len(t, v.free, 3)
	got := v.options.Context.Sink.(*noted)
	assert.EqualValues(t, 15, got.own[source.SYNClosed])
	assert.Zero(t, got.rest)
}

// TestGenerationsOfTheRest: an idle entry ends the generation of all. What others count goes on, and
// what a source has taken back is owed over the end.
func TestGenerationsOfTheRest(t *testing.T) {
	v := newVantage(t, func(*settings.Sources) {})
	m, got, now := v.options.Maps["source_rest"], v.options.Context.Sink.(*noted), time.Now()
	put := func(netns uint32, generation uint16, syns int64) {
		perCPU := make([]shared.SourceRest, ebpf.MustPossibleCPU())
		perCPU[0].Counts[source.SYNClosed] = uint64(syns)
		require.NoError(t, m.Put(shared.SourceRestKey{Netns: netns, Family: 4, Generation: generation}, perCPU))
	}
	put(1, 0, 10)
	put(2, 0, 100)
	v.Pass(now)
	assert.EqualValues(t, 110, got.rest[source.SYNClosed])
	put(2, 0, 93) // a source got its entry
	v.Pass(now.Add(59 * time.Second))
	put(2, 0, 95)
	v.Pass(now.Add(61 * time.Second))
	assert.EqualValues(t, 1, v.gate.generation)
	assert.EqualValues(t, 110, got.rest[source.SYNClosed])
	entries, err := shared.CountEntries(m)
	require.NoError(t, err)
	assert.Zero(t, entries, "programs begin new ones")
	put(2, 1, 4)
	v.Pass(now.Add(62 * time.Second))
	assert.EqualValues(t, 110, got.rest[source.SYNClosed])
	put(2, 1, 8)
	v.Pass(now.Add(63 * time.Second))
	assert.EqualValues(t, 113, got.rest[source.SYNClosed])
}

// TestALateEntryOfTheRest: one that came while its generation ended lasts until the next end. What it had
// counted is not counted again then, and what is owed adds to it.
func TestALateEntryOfTheRest(t *testing.T) {
	v := newVantage(t, func(*settings.Sources) {})
	m, got, now := v.options.Maps["source_rest"], v.options.Context.Sink.(*noted), time.Now()
	put := func(generation uint16, syns uint64) {
		perCPU := make([]shared.SourceRest, ebpf.MustPossibleCPU())
		perCPU[0].Counts[source.SYNClosed] = syns
		require.NoError(t, m.Put(shared.SourceRestKey{Netns: 1, Family: 4, Generation: generation}, perCPU))
	}
	require.NoError(t, v.endGeneration(now))
	require.EqualValues(t, 1, v.gate.generation)
	put(0, 40) // after the pass had read the map, before the programs knew
	put(1, 10)
	v.Pass(now)
	put(0, 50)
	put(1, 7) // a source got its entry
	v.Pass(now.Add(30 * time.Second))
	assert.EqualValues(t, 60, got.rest[source.SYNClosed])
	v.Pass(now.Add(61 * time.Second))
	require.EqualValues(t, 0, v.gate.generation)
	for i, counted := range []uint64{50, 53, 55} {
		put(0, counted)
		v.Pass(now.Add(time.Duration(62+i) * time.Second))
	}
	assert.EqualValues(t, 62, got.rest[source.SYNClosed])
}

// TestSourcesComeAndGo: a pass finds the state of each, whoever left or came before it in the kernel's
// order.
func TestSourcesComeAndGo(t *testing.T) {
	v := newVantage(t, func(s *settings.Sources) { s.MaxSources, s.MaxRecords = 4096, 4096 })
	got, now := v.options.Context.Sink.(*noted), time.Now()
	random := rand.New(rand.NewPCG(1, 2))
	counts, want := map[uint32]uint32{}, uint64(0)
	for pass := range 30 {
		for range 200 {
			n := uint32(random.IntN(1000))
			added := uint32(1 + random.IntN(3))
			counts[n] += added
			want += uint64(added)
			key := keyOf(n)
			require.NoError(t, v.reader.m.Put(&key, &shared.Source{Counts: [source.Counts]uint32{source.SYNClosed: counts[n]}}))
		}
		now = now.Add(time.Duration(1+pass%2*20) * time.Second) // many are idle for a minute
		v.Pass(now)
		for n := range counts {
			key := keyOf(n)
			if _, followed := v.known[key]; !followed {
				delete(counts, n)
			}
		}
		require.Len(t, v.known, len(counts))
		require.Equal(t, want, got.own[source.SYNClosed])
	}
	assert.NotEmpty(t, v.free, "some have left")
}
