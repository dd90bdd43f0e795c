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
