// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"math"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/table"
)

// tenfold is by how much the evidence grows before a finding is told again.
const tenfold = 10

// Settings of a book.
type Settings struct {
	// Rules is how many there are.
	Rules int
	// Open is how many findings may be open.
	Open int
	// PerMinute is how many are told in a minute.
	PerMinute int
	// EndAfter is how long a finding lasts without new evidence.
	EndAfter time.Duration
	// Tell gets each finding, and may keep it.
	Tell func(*Finding)
	// Ended is called at the end of each finding, told or not.
	Ended func(Subject)
}

// Book has the open findings.
type Book struct {
	set  Settings
	open *table.Table[Subject, Open]
	// minute is when the current minute began, told what was told in it.
	minute     int64
	told       int
	suppressed []uint64
	// Begun and Suppressed are totals for each rule.
	Begun, Suppressed []uint64
}

// Open is an open finding.
type Open struct {
	Finding
	// Next is the evidence from which on it is told again.
	Next uint64
	// Told is false if too many others were told.
	Told bool
	// Row are the windows in a row of the latest score of a model, RowTold the most that were told.
	Row, RowTold int
}

// NewBook makes an empty book.
func NewBook(set Settings) *Book {
	return &Book{
		set: set, open: table.New[Subject, Open](set.Open), suppressed: make([]uint64, set.Rules),
		Begun: make([]uint64, set.Rules), Suppressed: make([]uint64, set.Rules), minute: math.MinInt64,
	}
}

// Len is the number of open findings.
func (b *Book) Len() int { return b.open.Len() }

// Displaced counts open findings that others displaced.
func (b *Book) Displaced() uint64 { return b.open.Evicted[0] + b.open.Evicted[1] }

// IsOpen tells whether there is a finding about the subject.
func (b *Book) IsOpen(about Subject) bool { return b.open.Get(about) != nil }

// InARow notes a score of a model, before Due. It returns in how many windows in a row the subject has
// had one, that of f included, and whether that is more than any report of the finding had.
func (b *Book) InARow(about Subject, f *Finding) (windows int, more bool) {
	open := b.open.Get(about)
	if open == nil {
		return 1, true
	}
	if f.First-open.Last < f.Last-f.First {
		open.Row = min(open.Row+1, MaxWindows)
	} else {
		open.Row = 1
	}
	return open.Row, open.Row > open.RowTold
}

// Due notes evidence. It reports whether the finding must be told, by Report.
func (b *Book) Due(about Subject, count uint64, at int64) bool {
	open := b.open.Get(about)
	if open == nil {
		return true
	}
	open.Count = max(open.Count, count)
	open.Last = max(open.Last, at)
	return open.Count >= open.Next
}

// Report tells of a finding that is due, as far as the limit allows.
func (b *Book) Report(about Subject, f *Finding) {
	open := b.open.Get(about)
	if open == nil {
		open = b.open.Add(about)
		b.Begun[about.Rule]++
		f.ID = identify(about, f.First)
	} else {
		f.ID, f.First = open.ID, min(open.First, f.First)
	}
	f.Rule, f.State = about.Rule, Begin
	if open.Told {
		f.State = Growth
	}
	f.Last = max(f.Last, open.Last)
	f.Count = max(f.Count, open.Count)
	told, next := open.Told, max(open.Next, tenfold)
	for next <= f.Count && next < math.MaxUint64/tenfold {
		next *= tenfold
	}
	if f.State == Begin && f.Count > 0 {
		next = f.Count * tenfold
	}
	row := open.Row
	if f.Score != nil {
		row = f.Score.Windows
	}
	*open = Open{Finding: *f, Next: next, Told: told, Row: row, RowTold: open.RowTold}
	if !b.allow(f.At) {
		b.suppressed[f.Rule]++
		b.Suppressed[f.Rule]++
		return
	}
	open.Told, open.RowTold = true, max(open.RowTold, row)
	b.open.Keep(about)
	b.set.Tell(f)
}

// allow counts what is told against the limit of the minute.
func (b *Book) allow(now int64) bool {
	b.turn(now)
	if b.told >= b.set.PerMinute {
		return false
	}
	b.told++
	return true
}

// turn begins a new minute if the last one is over, and sums up what was not told in it.
func (b *Book) turn(now int64) {
	if b.minute != math.MinInt64 && now-b.minute < int64(time.Minute) {
		return
	}
	b.minute, b.told = now, 0
	for rule, n := range b.suppressed {
		if n > 0 {
			b.suppressed[rule] = 0
			b.set.Tell(&Finding{Rule: uint8(rule), State: Summary, At: now, Last: now, Suppressed: n})
		}
	}
}

// Tick ends findings without new evidence, and sums up.
func (b *Book) Tick(now int64) {
	b.turn(now)
	for about, open := range b.open.All() {
		if now-open.Last < int64(b.set.EndAfter) {
			continue
		}
		if open.Told {
			f := open.Finding
			f.State, f.At = End, now
			b.set.Tell(&f)
		}
		b.open.Delete(about)
		b.set.Ended(about)
	}
}

// Saved is an open finding as it outlives a restart.
type Saved struct {
	About Subject
	Open  Open
}

// Save returns the open findings.
func (b *Book) Save() []Saved {
	saved := make([]Saved, 0, b.open.Len())
	for about, open := range b.open.All() {
		saved = append(saved, Saved{about, *open})
	}
	return saved
}

// Restore puts back what was saved.
func (b *Book) Restore(saved []Saved) {
	for i := range saved {
		s := &saved[i]
		if int(s.About.Rule) >= b.set.Rules || b.open.Get(s.About) != nil {
			continue
		}
		*b.open.Add(s.About) = s.Open
		if s.Open.Told {
			b.open.Keep(s.About)
		}
	}
}

// identify gives a finding a number of its own.
func identify(about Subject, first int64) uint64 {
	h := uint64(first)
	for _, part := range [...]uint64{uint64(about.Rule), about.Hi, about.Lo, about.Scope, about.Host, about.Service} {
		h = (h ^ part) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	return h
}
