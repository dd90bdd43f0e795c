// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestARestartForgetsNobodyWhoWasServed: for a day, whatever the clock of the new boot says.
func TestARestartForgetsNobodyWhoWasServed(t *testing.T) {
	h := newHost(t)
	h.serve("192.0.2.1", 1)
	h.serve("2001:db8::1", 1)
	h.now += 25 * time.Hour
	h.serve("192.0.2.2", 1)
	data := h.j.Snapshot(h.now)
	for _, test := range []struct {
		passed, now time.Duration
		want        []bool
	}{
		{0, h.now, []bool{true, true}},
		{-time.Hour, time.Minute, []bool{true, true}},
		{time.Hour, time.Minute, []bool{true, true}},
		{24 * time.Hour, time.Minute, []bool{false, true}},
		{48 * time.Hour, time.Minute, []bool{false, false}},
		{48_000 * time.Hour, 1000 * time.Hour, []bool{false, false}},
	} {
		j := New(Defaults())
		require.NoError(t, j.Restore(data, test.passed, test.now))
		assert.Equal(t, test.want, []bool{j.ServedWell(source7("192.0.2.1"), test.now), j.ServedWell(source7("192.0.2.2"), test.now)}, "%s", test.passed)
		assert.Equal(t, test.want[0], j.ServedWell(source7("2001:db8::9"), test.now))
		assert.False(t, j.ServedWell(source7("203.0.113.1"), test.now))
	}
	small := Defaults()
	small.Served = 2
	j := New(small)
	h.serve("192.0.2.3", 1)
	require.NoError(t, j.Restore(h.j.Snapshot(h.now), 0, h.now))
	assert.True(t, j.ServedWell(source7("203.0.113.1"), h.now), "without room for all, it may have been")
	for i := range data {
		require.ErrorIs(t, New(Defaults()).Restore(data[:i], 0, h.now), ErrSnapshot)
	}
}

// TestARestartKnowsNoMoreThanBefore: the day before the first start is over at its own time.
func TestARestartKnowsNoMoreThanBefore(t *testing.T) {
	h := newHost(t)
	h.j.Tick(h.now)
	h.now += 10 * time.Hour
	data := h.j.Snapshot(h.now)
	j := New(Defaults())
	require.ErrorIs(t, j.Restore(data[1:], 0, h.now), ErrSnapshot)
	assert.True(t, j.ServedWell(source7("203.0.113.1"), h.now+23*time.Hour), "a damaged snapshot tells nothing")
	require.NoError(t, j.Restore(data, 0, h.now))
	assert.True(t, j.ServedWell(source7("203.0.113.1"), h.now+13*time.Hour))
	assert.False(t, j.ServedWell(source7("203.0.113.1"), h.now+14*time.Hour))
}

// FuzzRestore: no bytes make it fail otherwise than with an error.
func FuzzRestore(f *testing.F) {
	h := &host{j: New(Defaults()), now: start}
	h.serve("192.0.2.1", 3)
	f.Add(h.j.Snapshot(h.now))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
		set := Defaults()
		set.Served = 4
		j := New(set)
		if j.Restore(data, 0, start) == nil && len(j.served.current)+len(j.served.before) > 4 {
			t.Fatal("over the limit")
		}
		j.ServedWell(source7("192.0.2.1"), start+time.Hour)
	})
}
