// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sources

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/live"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// Options are what the vantage point gets from the probe.
type Options struct {
	Config *settings.Config
	// Maps are shared with the other vantage points, by name.
	Maps   map[string]*ebpf.Map
	Shares *shared.Shares
	// Looks has what open connections say; it may be nil.
	Looks   *live.Looks
	Context *record.Context
	Logger  *zap.Logger
}

// Vantage reads what the programs count. It is for one goroutine at a time.
type Vantage struct {
	options *Options
	cfg     *settings.Sources
	mask    [2]uint64
	gate    gate
	leaver  leaver
	reader  *reader
	// Absent are counts that no hook tells.
	Absent source.Kinds

	// last is when the last pass ended.
	last time.Time
	// known are the sources that are followed. slots has their state; free are unused slots.
	known map[shared.SourceKey]int32
	slots []state
	free  []int32
	// order are the slots as the last pass met them, next those of this one. The kernel's order
	// changes little, and looking each source up takes half of a pass.
	order, next []int32
	at          int
	rest        rest
	// leaving are sources that were marked and are not deleted yet, because that failed.
	leaving map[shared.SourceKey]struct{}
	// over are the sources of this pass that get a record of their own, unless there are too many.
	over []over
	// timedOut are handshakes that timed out since the last pass.
	timedOut map[shared.SourceKey]uint32
	// fact is what is reported, and reused.
	fact source.Source
	// failing is set while passes fail.
	failing bool
}

// state is what is known of a source from earlier passes.
type state struct {
	key shared.SourceKey
	// place is where the last pass met it.
	place  int32
	counts [source.Counts]uint32
	since  time.Time
	active time.Time
}

// New makes a vantage point that has read nothing, and draws Config.Sources.Seed.
func New(options *Options) (*Vantage, error) {
	v := &Vantage{
		options: options, cfg: &options.Config.Sources, mask: options.Config.Sources.Mask(),
		known: make(map[shared.SourceKey]int32), timedOut: make(map[shared.SourceKey]uint32), last: time.Now(),
		leaving: make(map[shared.SourceKey]struct{}),
	}
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("choose the seed of the sketch of sources: %w", err)
	}
	v.cfg.Seed = binary.NativeEndian.Uint64(seed[:])
	v.reader = newReader(options.Maps["sources"])
	v.rest = newRest(options.Maps["source_rest"])
	v.gate = gate{control: options.Maps["source_gate"], sketch: options.Maps["source_sketch"], capacity: int(options.Config.Sources.MaxSources)}
	if err := v.leaver.open(options.Maps); err != nil {
		options.Logger.Warn("what a source does while its entry ends is not counted", zap.Error(err))
	}
	return v, v.gate.open()
}

// Close frees the vantage point's own program.
func (v *Vantage) Close() error { return v.leaver.close() }

// Due is when the next pass is.
func (v *Vantage) Due() time.Time { return v.last.Add(v.cfg.Interval) }

// Pass reads all counts, and reports what was done since the last pass.
func (v *Vantage) Pass(now time.Time) {
	err := v.pass(now)
	v.last = now
	if err != nil && !v.failing {
		v.options.Logger.Warn("what sources do is read in part", zap.Error(err))
	}
	v.failing = err != nil
}

func (v *Vantage) pass(now time.Time) error {
	v.over = v.over[:0]
	entries, err := v.entries()
	if err != nil {
		return err
	}
	if err = v.rest.read(now); err == nil && v.rest.hasIdle(now.Add(-v.cfg.IdleTimeout)) {
		err = v.endGeneration(now)
	}
	var idle []shared.SourceKey
	patience := v.patience()
	v.order, v.next, v.at = v.next, v.order[:0], 0
	err = errors.Join(err, v.reader.each(func(key *shared.SourceKey, value *shared.Source) {
		s := v.slot(key)
		delta, done := s.advance(value)
		if n := v.timeouts(key); n > 0 {
			delta[source.HalfOpenTimeout], done = n, true
		}
		live := v.options.Looks.Client(key)
		switch {
		case done || v.holdsMany(live):
			s.active = now
			v.sort(key, value, s, &delta, live)
		case v.options.Looks.Holds(key):
			s.active = now
		case now.Sub(s.active) > patience && !v.isLeaving(key):
			idle = append(idle, *key)
		}
	}))
	err = errors.Join(err, v.expire(idle))
	v.addTimeoutsToRest()
	v.addUnfollowed()
	v.report(now)
	return errors.Join(err, v.gate.turn(len(v.known), entries))
}

// holdsMany reports whether open connections alone put a source over the low-water mark.
func (v *Vantage) holdsMany(live *source.Live) bool {
	return live != nil && live.Open >= int64(v.cfg.MinAttempts)
}

// addUnfollowed adds sources without an entry that hold many connections: they were open before
// the programs, or the source found no room.
func (v *Vantage) addUnfollowed() {
	v.options.Looks.Clients(int64(v.cfg.MinAttempts), func(key *shared.SourceKey, live *source.Live) {
		if _, followed := v.known[*key]; !followed {
			v.over = append(v.over, over{key: *key, last: only(key), live: live, ordinary: uint64(live.Open)})
		}
	})
}

// slot returns the state of a source, which may be new.
func (v *Vantage) slot(key *shared.SourceKey) *state {
	at := v.expected(key)
	if at < 0 {
		known, ok := v.known[*key]
		if ok {
			v.at = int(v.slots[known].place) + 1
		} else {
			known = v.follow(key)
		}
		at = known
	}
	v.slots[at].place = int32(len(v.next))
	v.next = append(v.next, at)
	return &v.slots[at]
}

// missing is how many sources in a row may have left since the last pass.
const missing = 4

// expected finds a source where the last pass met it; negative if it is not there.
func (v *Vantage) expected(key *shared.SourceKey) int32 {
	for i := v.at; i < len(v.order) && i <= v.at+missing; i++ {
		if at := v.order[i]; v.slots[at].key == *key {
			v.at = i + 1
			return at
		}
	}
	return -1
}

// follow makes a state for a source that came after the last pass.
func (v *Vantage) follow(key *shared.SourceKey) (at int32) {
	if n := len(v.free); n > 0 {
		at, v.free = v.free[n-1], v.free[:n-1]
	} else {
		at = int32(len(v.slots))
		v.slots = append(v.slots, state{})
	}
	v.slots[at] = state{key: *key, since: v.last, active: v.last}
	v.known[*key] = at
	return at
}

// advance takes the counts of a pass, and returns what was added since the one before. They wrap.
func (s *state) advance(value *shared.Source) (delta [source.Counts]uint32, done bool) {
	if s.counts == value.Counts {
		return delta, false
	}
	for c := range delta {
		delta[c] = value.Counts[c] - s.counts[c]
	}
	s.counts = value.Counts
	return delta, true
}

// patience is how long an idle source is kept. It shrinks as the table fills.
func (v *Vantage) patience() time.Duration {
	switch taken := len(v.known); {
	case taken > v.gate.capacity/4*3:
		return min(v.cfg.IdleTimeout, 2*v.cfg.Interval)
	case taken > v.gate.capacity/2:
		return min(v.cfg.IdleTimeout, max(time.Minute, 2*v.cfg.Interval))
	default:
		return v.cfg.IdleTimeout
	}
}

// endGeneration deletes all entries of the rest, of which some are idle, such as those of
// namespaces that are gone. Others begin again.
func (v *Vantage) endGeneration(now time.Time) error {
	if err := v.gate.set(v.gate.promote, v.gate.generation^1); err != nil {
		return err
	}
	if err := v.leaver.settle(); err != nil {
		return err
	}
	return v.rest.end(now, v.gate.generation)
}

func (v *Vantage) isLeaving(key *shared.SourceKey) bool {
	_, is := v.leaving[*key]
	return is
}

// expire deletes idle sources, and those of which that failed before: nothing takes their marks back.
// What they do meanwhile counts for the rest.
func (v *Vantage) expire(idle []shared.SourceKey) error {
	for i := range idle {
		v.leaving[idle[i]] = struct{}{}
	}
	all := slices.Collect(maps.Keys(v.leaving))
	// After an error, nobody knows which are marked.
	if err := v.leaver.mark(all); err != nil {
		return err
	}
	var first error
	for i := range all {
		if err := v.end(&all[i]); err == nil {
			delete(v.leaving, all[i])
		} else if first == nil {
			first = err
		}
	}
	if first != nil {
		return fmt.Errorf("delete idle sources, %d of %d: %w", len(v.leaving), len(all), first)
	}
	return nil
}

// end deletes a source that is marked.
func (v *Vantage) end(key *shared.SourceKey) error {
	var value shared.Source
	at := v.known[*key]
	switch err := take(v.reader.m, key, &value); {
	case err == nil:
		v.options.Shares.ReportDeleted(key.Netns, shared.RoomSources)
		if delta, done := v.slots[at].advance(&value); done {
			v.rest.add(key, &delta)
		}
	case !errors.Is(err, ebpf.ErrKeyNotExist):
		return err
	}
	v.free = append(v.free, at)
	v.slots[at].key = shared.SourceKey{}
	delete(v.known, *key)
	return nil
}

func (v *Vantage) entries() (sum shared.SourceEntries, err error) {
	perCPU := make([]shared.SourceEntries, ebpf.MustPossibleCPU())
	if err := v.options.Maps["source_entries"].Lookup(uint32(0), &perCPU); err != nil {
		return sum, fmt.Errorf("read how sources got entries: %w", err)
	}
	for i := range perCPU {
		sum.Entered += perCPU[i].Entered
		sum.Promoted += perCPU[i].Promoted
		sum.Full += perCPU[i].Full
		sum.Share += perCPU[i].Share
	}
	return sum, nil
}

// Figures reads the programs' counts.
func (v *Vantage) Figures() (Figures, error) {
	sum, err := v.entries()
	return Figures{
		Entered: sum.Entered, Promoted: sum.Promoted, Full: sum.Full, Share: sum.Share,
		Tracked: len(v.known), Capacity: v.gate.capacity, Crowded: v.gate.crowded, Promote: v.gate.promote,
	}, err
}
