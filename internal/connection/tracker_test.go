// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"math/rand/v2"
	"testing"
)

// plenty is a limit that no test reaches.
const plenty = 1 << 10

func live(id, received, transmitted uint64) *Live {
	return &Live{
		Connection:    Connection{ID: id},
		ReceivedBytes: received, TransmittedBytes: transmitted,
	}
}

func closed(id, received, transmitted uint64) *Closed {
	return &Closed{
		Connection: Connection{ID: id},
		Counters:   Counters{ReceivedBytes: received, TransmittedBytes: transmitted},
	}
}

// pass is a complete pass that sees these connections.
func pass(t *Tracker, looks ...*Live) (deltas []Delta, forgotten int) {
	t.BeginPass()
	for _, look := range looks {
		deltas = append(deltas, t.Live(look))
	}
	return deltas, t.EndPass()
}

func TestTrackerDeltas(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		looks []any
		want  []Delta
	}{
		{
			name:  "closed unseen",
			looks: []any{closed(1, 10, 20)},
			want:  []Delta{{Received: 10, Transmitted: 20}},
		},
		{
			name:  "open, then closed",
			looks: []any{live(1, 10, 20), live(1, 10, 25), live(1, 30, 25), closed(1, 31, 40)},
			want:  []Delta{{Received: 10, Transmitted: 20}, {Transmitted: 5}, {Received: 20}, {Received: 1, Transmitted: 15}},
		},
		{
			name:  "the FIN taken back at close",
			looks: []any{live(1, 11, 21), closed(1, 10, 20)},
			want:  []Delta{{Received: 11, Transmitted: 21}, {}},
		},
		{
			name:  "backwards and forwards again counts nothing twice",
			looks: []any{live(1, 11, 21), live(1, 10, 20), live(1, 12, 22)},
			want:  []Delta{{Received: 11, Transmitted: 21}, {}, {Received: 1, Transmitted: 1}},
		},
		{
			name:  "two connections",
			looks: []any{live(1, 1, 1), live(2, 5, 5), closed(1, 2, 2), live(2, 6, 5)},
			want:  []Delta{{Received: 1, Transmitted: 1}, {Received: 5, Transmitted: 5}, {Received: 1, Transmitted: 1}, {Received: 1}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			tracker := NewTracker(plenty)
			for i, look := range test.looks {
				var got Delta
				switch look := look.(type) {
				case *Live:
					got = tracker.Live(look)
				case *Closed:
					got = tracker.Closed(look)
				}
				if got != test.want[i] {
					t.Errorf("look %d: %+v, want %+v", i, got, test.want[i])
				}
			}
		})
	}
}

func TestTrackerForgetsWhatIsMissingInManyPasses(t *testing.T) {
	t.Parallel()
	tracker := NewTracker(plenty)
	pass(tracker, live(1, 10, 0), live(2, 10, 0))
	for missed := 1; missed < missedPasses; missed++ {
		if _, forgotten := pass(tracker, live(2, 10, 0)); forgotten != 0 {
			t.Fatalf("forgotten after %d passes", missed)
		}
		// Passes that fail midway do not count.
		tracker.BeginPass()
		tracker.BeginPass()
		tracker.BeginPass()
	}
	if got := tracker.Live(live(1, 12, 0)); got != (Delta{Received: 2}) {
		t.Errorf("after it was missing: %+v, want 2 bytes more", got)
	}
	pass(tracker, live(2, 10, 0), live(1, 12, 0))
	for missed := 1; missed <= missedPasses; missed++ {
		want := 0
		if missed == missedPasses {
			want = 1
		}
		if _, forgotten := pass(tracker, live(2, 10, 0)); forgotten != want {
			t.Fatalf("forgotten after %d passes: %d, want %d", missed, forgotten, want)
		}
	}
	if got := tracker.Closed(closed(2, 11, 0)); got != (Delta{Received: 1}) {
		t.Errorf("the other was forgotten, too: %+v", got)
	}
}

func TestTrackerClosedDuringPass(t *testing.T) {
	t.Parallel()
	tracker := NewTracker(4)
	tracker.BeginPass()
	tracker.Live(live(1, 10, 0))
	tracker.Closed(closed(1, 15, 0))
	tracker.Closed(closed(2, 7, 0))
	for id := range uint64(2) {
		if got := tracker.Live(live(id+1, 10, 0)); got != (Delta{}) {
			t.Errorf("connection %d counted again after its close: %+v", id+1, got)
		}
	}
	if len(tracker.open) != 0 {
		t.Errorf("%d are tracked as open", len(tracker.open))
	}
	// More closes than can be remembered: what is not known waits for the next pass.
	for id := range uint64(10) {
		tracker.Closed(closed(id+10, 1, 0))
	}
	if got := tracker.Live(live(19, 1, 0)); got != (Delta{}) {
		t.Errorf("counted again after its close: %+v", got)
	}
	tracker.EndPass()
	if got, _ := pass(tracker, live(3, 5, 0)); got[0] != (Delta{Received: 5}) {
		t.Errorf("in the next pass: %+v", got)
	}
}

func TestTrackerBeyondLimit(t *testing.T) {
	t.Parallel()
	tracker := NewTracker(2)
	var bytes uint64
	for round := range uint64(3) {
		tracker.BeginPass()
		for id := range uint64(5) {
			bytes += tracker.Live(live(id, 10*(round+1), 0)).Received
		}
		tracker.EndPass()
	}
	if bytes != 60 {
		t.Errorf("%d bytes are tracked, want 60 of 2 connections", bytes)
	}
	for id := range uint64(5) {
		bytes += tracker.Closed(closed(id, 100, 0)).Received
	}
	if bytes != 500 {
		t.Errorf("bytes = %d, want 500", bytes)
	}
}

// TestTrackerCountsEachByteOnce plays connections that grow, close and are missed at
// random, and compares the sum of deltas with the truth.
func TestTrackerCountsEachByteOnce(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	tracker := NewTracker(50)
	open := map[uint64]*Live{}
	var next, want, got uint64
	take := func(delta Delta) { got += delta.Received + delta.Transmitted }
	end := func(id uint64) {
		l := open[id]
		take(tracker.Closed(closed(id, l.ReceivedBytes, l.TransmittedBytes)))
		delete(open, id)
	}
	for range 500 {
		for len(open) < 80 {
			next++
			open[next] = live(next, 0, 0)
		}
		tracker.BeginPass()
		for id, l := range open {
			grown := uint64(random.IntN(100))
			l.ReceivedBytes += grown
			l.TransmittedBytes += 2 * grown
			want += 3 * grown
			stale := *l
			if random.IntN(10) == 0 {
				end(id)
			}
			if random.IntN(50) != 0 {
				take(tracker.Live(&stale))
			}
		}
		if forgotten := tracker.EndPass(); forgotten != 0 {
			t.Fatalf("%d open connections forgotten", forgotten)
		}
	}
	for id := range open {
		end(id)
	}
	if got != want || len(tracker.open) != 0 {
		t.Errorf("bytes %d, want %d; %d left", got, want, len(tracker.open))
	}
}

// TestTrackerOfUnreadSockets: an unread socket adds nothing, and its close adds everything.
func TestTrackerOfUnreadSockets(t *testing.T) {
	t.Parallel()
	tracker := NewTracker(plenty)
	unread := live(1, 0, 0)
	unread.Unread = true
	for _, look := range []*Live{live(1, 10, 20), unread, live(1, 15, 20), unread} {
		tracker.BeginPass()
		got := tracker.Live(look)
		if want := map[uint64]uint64{10: 10, 15: 5}[look.ReceivedBytes]; got.Received != want {
			t.Errorf("%d bytes of a look at %d, want %d", got.Received, look.ReceivedBytes, want)
		}
		tracker.EndPass()
	}
	if got := tracker.Closed(closed(1, 18, 21)); got != (Delta{Received: 3, Transmitted: 1}) {
		t.Errorf("at the close: %+v", got)
	}
}

// TestTrackerOfAdopted: what an adopted connection transferred before its first reading is not
// counted, whatever way its readings go.
func TestTrackerOfAdopted(t *testing.T) {
	t.Parallel()
	adopted := func(l *Live) *Live {
		l.Adopted = true
		return l
	}
	unread := adopted(live(2, 0, 0))
	unread.Unread = true
	tracker := NewTracker(3)
	pass(tracker, adopted(live(1, 1000, 2000)), unread)
	deltas, _ := pass(tracker, adopted(live(1, 1010, 2000)), adopted(live(2, 500, 0)), unread)
	if deltas[0] != (Delta{Received: 10}) || deltas[1] != (Delta{}) || deltas[2] != (Delta{}) {
		t.Errorf("%+v, want 10 bytes of the first", deltas)
	}
	for id, want := range map[uint64]Delta{1: {Transmitted: 1}, 2: {Received: 510, Transmitted: 2001}, 3: {}} {
		last := closed(id, 1010, 2001)
		last.Adopted = true
		if got := tracker.Closed(last); got != want {
			t.Errorf("the close of %d: %+v, want %+v", id, got, want)
		}
	}
}

func TestTrackerDoesNotAllocate(t *testing.T) {
	tracker := NewTracker(plenty)
	look, last := live(1, 1, 1), closed(2, 1, 1)
	brief := live(2, 1, 1)
	tracker.Live(look)
	allocated := testing.AllocsPerRun(1000, func() {
		tracker.BeginPass()
		look.ReceivedBytes++
		tracker.Live(look)
		tracker.Live(brief)
		tracker.Closed(last)
		tracker.EndPass()
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}

func BenchmarkTrackerPass(b *testing.B) {
	const connections = 10000
	tracker := NewTracker(plenty)
	look := live(0, 0, 0)
	b.ReportAllocs()
	for b.Loop() {
		tracker.BeginPass()
		for id := range uint64(connections) {
			look.ID = id
			look.ReceivedBytes++
			tracker.Live(look)
		}
		tracker.EndPass()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/connections, "ns/connection")
}

func BenchmarkTrackerClosed(b *testing.B) {
	tracker := NewTracker(plenty)
	last := closed(0, 1, 1)
	b.ReportAllocs()
	for b.Loop() {
		last.ID++
		tracker.Closed(last)
	}
}
