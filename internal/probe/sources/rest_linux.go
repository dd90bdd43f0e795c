// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sources

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// rest adds up what sources without a record of their own did, so that sums stay whole.
type rest struct {
	m *ebpf.Map
	// last are the kernel's totals as last reported.
	last map[shared.SourceRestKey]*total
	// now are the totals of this pass.
	now    map[shared.SourceRestKey]*tally
	perCPU []shared.SourceRest
}

// total is what the kernel has counted in an entry.
type total struct {
	counts [source.Counts]uint64
	active time.Time
}

// tally is the rest of one network namespace and IP version.
type tally struct {
	counts [source.Counts]uint64
	// sources had an entry, gated segments had none.
	sources int64
	gated   uint64
}

func newRest(m *ebpf.Map) rest {
	return rest{
		m: m, last: make(map[shared.SourceRestKey]*total), now: make(map[shared.SourceRestKey]*tally),
		perCPU: make([]shared.SourceRest, ebpf.MustPossibleCPU()),
	}
}

func (r *rest) of(key shared.SourceRestKey) *tally {
	key.Generation = 0
	t := r.now[key]
	if t == nil {
		t = new(tally)
		r.now[key] = t
	}
	return t
}

// read begins a pass with what sources without an entry did since the last one.
func (r *rest) read(now time.Time) error {
	clear(r.now)
	var key shared.SourceRestKey
	entries := r.m.Iterate()
	for entries.Next(&key, &r.perCPU) {
		r.advance(&key, now)
	}
	if err := entries.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("read what the other sources did: %w", err)
	}
	return nil
}

// hasIdle reports whether an entry has counted nothing since then.
func (r *rest) hasIdle(since time.Time) bool {
	for _, last := range r.last {
		if last.active.Before(since) {
			return true
		}
	}
	return false
}

// end takes what was counted in all generations but the present one, and deletes it. Nothing adds
// to them any more.
func (r *rest) end(now time.Time, present uint32) error {
	for key, last := range r.last {
		if uint32(key.Generation) == present {
			continue
		}
		if err := take(r.m, &key, &r.perCPU); err == nil {
			r.advance(&key, now)
			r.carry(key, last, present, now)
		} else if !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete what the other sources did: %w", err)
		}
		delete(r.last, key)
	}
	return nil
}

// carry keeps for the next generation what sources have taken back and not added again: see advance.
func (r *rest) carry(key shared.SourceRestKey, last *total, present uint32, now time.Time) {
	next := total{active: now}
	owed := false
	for c := range next.counts {
		if sum := r.sum(source.Count(c)); sum != last.counts[c] {
			next.counts[c], owed = last.counts[c]-sum, true
		}
	}
	if !owed {
		return
	}
	key.Generation = uint16(present)
	begun := r.last[key]
	if begun == nil {
		r.last[key] = &next
		return
	}
	// It began before its generation ended the last time, and its total was reported.
	for c := range next.counts {
		begun.counts[c] += next.counts[c]
	}
}

// sum adds up a count of perCPU.
func (r *rest) sum(c source.Count) (sum uint64) {
	for cpu := range r.perCPU {
		sum += r.perCPU[cpu].Counts[c]
	}
	return sum
}

// advance takes an entry's counts, which are in perCPU.
func (r *rest) advance(key *shared.SourceRestKey, now time.Time) {
	last := r.last[*key]
	if last == nil {
		last = &total{active: now}
		r.last[*key] = last
	}
	t := r.of(*key)
	for c := range source.Counts {
		sum := r.sum(c)
		// A source that got its entry takes back more than it added since the last pass, if it
		// sent another kind before. Then the next pass has less.
		if added := int64(sum - last.counts[c]); added > 0 {
			t.counts[c] += uint64(added)
			t.gated += uint64(added)
			last.counts[c], last.active = sum, now
		}
	}
}

// add counts a source without a record of its own.
func (r *rest) add(key *shared.SourceKey, delta *[source.Counts]uint32) {
	t := r.of(shared.SourceRestKey{Netns: key.Netns, Family: uint16(key.Family)})
	t.sources++
	for c, n := range delta {
		t.counts[c] += uint64(n)
	}
}

// gated are all segments of sources without an entry.
func (r *rest) gated() (sum uint64) {
	for _, t := range r.now {
		sum += t.gated
	}
	return sum
}
