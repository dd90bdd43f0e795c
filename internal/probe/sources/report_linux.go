// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sources

import (
	"cmp"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// over is a source over the low-water mark.
type over struct {
	key   shared.SourceKey
	last  netip.Addr
	since time.Time
	// ports is nil for a source that is not followed.
	ports *source.Ports
	// live is nil if nobody has looked.
	live  *source.Live
	delta [source.Counts]uint32
	// unusual and ordinary are what it did, by kind.
	unusual, ordinary uint64
}

// usual is what clients without ill intent do. One of the other kinds suffices for a record.
var usual = source.Kinds(0).With(source.SYNListening, source.Completed, source.Closed)

// allKinds are the counts of a source that is not followed: they belong to the rest.
const allKinds = source.Kinds(1)<<source.Counts - 1

// sort decides whether a source gets a record of its own.
func (v *Vantage) sort(key *shared.SourceKey, value *shared.Source, s *state, delta *[source.Counts]uint32, live *source.Live) {
	var unusual, ordinary uint64
	for c, n := range delta {
		if usual.Has(source.Count(c)) {
			ordinary = max(ordinary, uint64(n))
		} else {
			unusual += uint64(n)
		}
	}
	if v.holdsMany(live) {
		ordinary = max(ordinary, uint64(live.Open))
	}
	if unusual == 0 && ordinary < uint64(v.cfg.MinAttempts) {
		v.rest.add(key, delta)
		return
	}
	v.over = append(v.over, over{
		key: *key, last: address(&value.Last), since: s.since, delta: *delta, live: live,
		ports:   &source.Ports{All: distinct(value.Ports[shared.SourcePortsAll][:]), Failed: distinct(value.Ports[shared.SourcePortsFailed][:]), Stray: distinct(value.Ports[shared.SourcePortsStray][:])},
		unusual: unusual, ordinary: ordinary,
	})
}

// address is how the kernel side has addresses: IPv4 mapped.
func address(a *shared.Address) netip.Addr {
	return netip.AddrFrom16(*(*[16]byte)(unsafe.Pointer(&a.Halves))).Unmap()
}

// only is the address of an IPv4 source; an IPv6 prefix has many.
func only(key *shared.SourceKey) netip.Addr {
	if a := address(&key.Address); a.Is4() {
		return a
	}
	return netip.Addr{}
}

// distinct estimates how many ports set these bits.
func distinct(set []uint64) int {
	taken := 0
	for _, word := range set {
		taken += bits.OnesCount64(word)
	}
	if taken == 0 {
		return 0
	}
	cells := len(set) * 64
	return int(math.Round(linear(cells-taken, cells)))
}

// report reports the sources over the mark, the unusual ones first, and then the rest.
func (v *Vantage) report(now time.Time) {
	if len(v.over) > v.cfg.MaxRecords {
		slices.SortFunc(v.over, func(a, b over) int {
			return cmp.Or(cmp.Compare(b.unusual, a.unusual), cmp.Compare(b.ordinary, a.ordinary))
		})
		for i := range v.over[v.cfg.MaxRecords:] {
			left := &v.over[v.cfg.MaxRecords+i]
			v.rest.add(&left.key, &left.delta)
		}
		v.over = v.over[:v.cfg.MaxRecords]
	}
	gated, err := v.gate.sources()
	if err != nil {
		v.options.Logger.Warn("the number of sources without an entry is not known", zap.Error(err))
	}
	if !v.cfg.Records {
		return
	}
	for i := range v.over {
		v.reportSource(now, &v.over[i])
	}
	all := v.rest.gated()
	for key, t := range v.rest.now {
		if all > 0 && t.gated > 0 {
			// The sketch does not tell namespaces apart.
			t.sources += max(1, int64(math.Round(gated*float64(t.gated)/float64(all))))
		}
		if t.counts != [source.Counts]uint64{} {
			v.reportRest(now, key, t)
		}
	}
}

func (v *Vantage) begin(now time.Time, netns, family uint32) *source.Source {
	v.fact = source.Source{
		Time: now.UnixNano(), Interval: now.Sub(v.last), NetNS: netns, IPv4: family == 4, Absent: v.Absent,
	}
	return &v.fact
}

func (v *Vantage) reportSource(now time.Time, o *over) {
	s := v.begin(now, o.key.Netns, o.key.Family)
	s.Client, s.Prefix, s.Ports, s.Live = o.last, v.prefix(&o.key), o.ports, o.live
	if s.Ports == nil {
		s.Absent = allKinds
	} else {
		s.Age = now.Sub(o.since)
	}
	for c, n := range o.delta {
		s.Counts[c] = uint64(n)
	}
	v.options.Context.Sink.SourceSeen(s)
}

func (v *Vantage) reportRest(now time.Time, key shared.SourceRestKey, t *tally) {
	s := v.begin(now, key.Netns, uint32(key.Family))
	s.Rest, s.Counts = max(t.sources, 1), t.counts
	v.options.Context.Sink.SourceSeen(s)
}

func (v *Vantage) prefix(key *shared.SourceKey) netip.Prefix {
	a, length := address(&key.Address), v.cfg.IPv6Prefix
	if a.Is4() {
		length = 32
	}
	return netip.PrefixFrom(a, length)
}
