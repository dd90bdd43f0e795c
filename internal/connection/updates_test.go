// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestUpdates: sums over updates and the close are whole, whatever the rate allows.
func TestUpdates(t *testing.T) {
	const minute = int64(time.Minute)
	u := NewUpdates(UpdateOptions{Interval: 5 * time.Minute, PerPass: 1, Max: 10})
	live := func(id, received uint64) *Live {
		return &Live{Connection: Connection{ID: id}, ReceivedBytes: received, TransmittedBytes: 2 * received}
	}
	sums, updates := map[uint64]uint64{}, map[uint64]int{}
	for m := range int64(30) {
		u.BeginPass()
		made := 0
		for id := range uint64(3) {
			if update, ok := u.Live(live(id, uint64(100*m)), m*minute); ok {
				made++
				sums[id] += update.ReceivedBytes
				updates[id]++
				assert.Equal(t, updates[id], update.Number)
				assert.Equal(t, 2*update.ReceivedBytes, update.TransmittedBytes)
				assert.GreaterOrEqual(t, m, int64(5))
			}
		}
		assert.LessOrEqual(t, made, 1)
		u.EndPass()
	}
	for id := range uint64(3) {
		closed := &Closed{Connection: Connection{ID: id}, Counters: Counters{ReceivedBytes: 2999, TransmittedBytes: 5998}}
		assert.Equal(t, updates[id], u.Closed(closed))
		assert.GreaterOrEqual(t, updates[id], 4)
		assert.EqualValues(t, 2999, sums[id]+closed.ReceivedBytes)
		assert.EqualValues(t, 5998, 2*sums[id]+closed.TransmittedBytes)
	}
	assert.Empty(t, u.open)
}

// TestUpdatesOldestFirst: with more due than a pass may make, nobody waits longer than it takes to
// make those that were due before, whatever order the passes have.
func TestUpdatesOldestFirst(t *testing.T) {
	const perPass, connections, passes, interval = 5, 60, 120, 4
	for name, order := range map[string]func(pass, i int) int{
		"same order": func(_, i int) int { return i },
		"backwards":  func(_, i int) int { return connections - 1 - i },
		"shifted":    func(pass, i int) int { return (i + 7*pass) % connections },
	} {
		t.Run(name, func(t *testing.T) {
			u := NewUpdates(UpdateOptions{Interval: interval, PerPass: perPass, Max: connections})
			last, made := [connections]int{}, 0
			for now := range passes {
				u.BeginPass()
				for i := range connections {
					id := order(now, i)
					l := &Live{Connection: Connection{ID: uint64(id), Opened: int64(id % 3)}}
					if _, ok := u.Live(l, int64(now)); ok {
						assert.LessOrEqual(t, now-last[id], connections/perPass+2*interval, "connection %d", id)
						last[id] = now
						made++
					}
				}
				assert.LessOrEqual(t, len(u.waiting.due), 2*perPass)
				u.EndPass()
			}
			for id, at := range last {
				assert.Less(t, passes-at, connections/perPass+2*interval, "connection %d starves", id)
			}
			assert.Equal(t, perPass*(passes-interval), made, "nothing is left unused")
		})
	}
}

// TestUpdatesKeepRoom: those that closed while they waited cost one pass some updates, and a pass
// that did not end costs nothing.
func TestUpdatesKeepRoom(t *testing.T) {
	u := NewUpdates(UpdateOptions{Interval: 1, PerPass: 2, Max: 10})
	pass := func(now int64, ends bool, ids ...uint64) (updated []uint64) {
		u.BeginPass()
		for _, id := range ids {
			if _, ok := u.Live(&Live{Connection: Connection{ID: id, Opened: int64(id)}}, now); ok {
				updated = append(updated, id)
			}
		}
		if ends {
			u.EndPass()
		}
		return updated
	}
	assert.Equal(t, []uint64{5, 4}, pass(9, true, 5, 4, 3, 2, 1))
	assert.Equal(t, []uint64{2, 1}, pass(19, false, 5, 4, 3, 2, 1))
	assert.Equal(t, []uint64{5, 4}, pass(20, true, 5, 4, 3), "1 and 2 need no more room")
	assert.Equal(t, []uint64{5, 3}, pass(21, true, 5, 4, 3))
	assert.Equal(t, []uint64{5}, pass(22, true, 5, 3), "room for 4")
	assert.Equal(t, []uint64{5, 3}, pass(23, true, 5, 3))
	assert.Empty(t, u.closed)
	u.Closed(&Closed{Connection: Connection{ID: 5}})
	assert.Empty(t, u.closed, "no pass can still have it")
}

// TestUpdatesOfAdopted: the records of a connection that was open before have what it transferred
// since its first reading, the close as well.
func TestUpdatesOfAdopted(t *testing.T) {
	const opened, minute = int64(time.Hour), int64(time.Minute)
	of := Connection{ID: 1, Adopted: true, Opened: opened}
	u := NewUpdates(UpdateOptions{Interval: 5 * time.Minute, PerPass: 10, Max: 10})
	read := func(after int64, received uint64, unread bool) (Update, bool) {
		u.BeginPass()
		defer u.EndPass()
		return u.Live(&Live{Connection: of, ReceivedBytes: received, TransmittedBytes: 2 * received, Unread: unread}, opened+after*minute)
	}
	_, ok := read(0, 0, true)
	assert.False(t, ok, "not read")
	_, ok = read(6, 1000, false)
	assert.False(t, ok, "the baseline")
	update, ok := read(7, 1010, false)
	assert.True(t, ok)
	assert.Equal(t, Update{
		Connection: update.Connection, Time: opened + 7*minute, Number: 1, ReceivedBytes: 10, TransmittedBytes: 20,
	}, update)
	last := &Closed{Connection: of, Counters: Counters{ReceivedBytes: 1011, TransmittedBytes: 2022}}
	assert.Equal(t, 1, u.Closed(last))
	assert.Equal(t, Counters{ReceivedBytes: 1, TransmittedBytes: 2}, last.Counters)

	read(0, 1000, false)
	last = &Closed{Connection: of, Counters: Counters{ReceivedBytes: 1011, TransmittedBytes: 2022}}
	assert.Zero(t, u.Closed(last))
	assert.Equal(t, Counters{ReceivedBytes: 11, TransmittedBytes: 22}, last.Counters)
}

// TestUpdatesOfTheGone: a connection that closed in a pass has no update in it, and one whose
// close was lost is forgotten.
func TestUpdatesOfTheGone(t *testing.T) {
	u := NewUpdates(UpdateOptions{Interval: time.Minute, PerPass: 10, Max: 1})
	u.BeginPass()
	assert.Zero(t, u.Closed(&Closed{Connection: Connection{ID: 1}}))
	_, ok := u.Live(&Live{Connection: Connection{ID: 1}}, int64(time.Hour))
	assert.False(t, ok, "closed")
	_, ok = u.Live(&Live{Connection: Connection{ID: 2}, Unread: true}, int64(time.Hour))
	assert.False(t, ok, "not read")
	_, ok = u.Live(&Live{Connection: Connection{ID: 2}}, int64(time.Hour))
	assert.True(t, ok)
	_, ok = u.Live(&Live{Connection: Connection{ID: 3}}, int64(time.Hour))
	assert.False(t, ok, "no room")
	for range missedPasses + 1 {
		u.EndPass()
		u.BeginPass()
	}
	u.EndPass()
	assert.Empty(t, u.open)

	var off Updates
	assert.False(t, off.On())
	assert.Zero(t, off.Closed(&Closed{}))
}
