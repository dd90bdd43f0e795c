// SPDX-License-Identifier: Apache-2.0

package blocks

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var wall = time.Unix(1_800_000_000, 0)

// filled has a block of each kind, one that repeats, and one that ended.
func filled(t testing.TB) *Table {
	t.Helper()
	table := New(exact())
	table.Block(ask("198.51.100.7", guessing), start-time.Hour)
	table.Tick(start)
	table.Block(ask("198.51.100.8", guessing), start-time.Hour)
	table.Tick(start)
	table.Block(ask("198.51.100.7", guessing), start)
	forged := ask("198.51.100.9", probing)
	forged.Limit = time.Minute
	table.Block(forged, start)
	for i, origin := range []Origin{file, crowdsec, operator} {
		r := ask(fmt.Sprintf("2001:db8:%d::/48", i), origin)
		r.TTL = time.Hour
		if origin == file {
			r.TTL = Forever
		}
		require.Equal(t, Blocked, table.Block(r, start).Outcome)
	}
	require.Equal(t, 5, table.Len())
	return table
}

func TestARestartKeepsTheTimeThatIsLeft(t *testing.T) {
	before := filled(t)
	data := before.Snapshot(Moment{"boot", start, wall}, nil)
	after := New(exact())
	now := start + 30*time.Second
	// The wall clock was set back by a year meanwhile.
	done, err := after.Restore(data, Moment{"boot", now, wall.AddDate(-1, 0, 0)}, nil)
	require.NoError(t, err)
	assert.Equal(t, Restored{Blocks: 5}, done)
	assert.Equal(t, before.keys, after.keys)
	consistent(t, after, now)
	assert.Equal(t, Unchanged, after.Block(ask("198.51.100.7", guessing), now).Outcome, "no second event")
	assert.Equal(t, uint8(2), after.Block(ask("198.51.100.8", guessing), now).Block.Step, "what repeats is remembered")
	assert.Len(t, after.Tick(start+time.Minute), 1)
}

func TestARestartWithoutAllOrigins(t *testing.T) {
	data := filled(t).Snapshot(Moment{"boot", start, wall}, func(o Origin) bool { return o.Kind != File })
	table := New(exact())
	done, err := table.Restore(data, Moment{"boot", start, wall}, func(o Origin) bool { return o != probing })
	require.NoError(t, err)
	assert.Equal(t, Restored{Blocks: 3, Refused: 1}, done)
	assert.Zero(t, table.Count(File))
}

// TestAReboot: the boot clock begins again, so the wall clock says how long it took.
func TestAReboot(t *testing.T) {
	data := filled(t).Snapshot(Moment{"boot", start, wall}, nil)
	for _, test := range []struct {
		elapsed time.Duration
		blocks  int
		left    time.Duration
	}{
		{5 * time.Minute, 4, 15 * time.Minute},
		{0, 5, 20 * time.Minute},
		{-10 * 365 * 24 * time.Hour, 5, 20 * time.Minute},
		{30 * time.Minute, 3, 0},
		{100_000 * time.Hour, 1, 0},
	} {
		table := New(exact())
		done, err := table.Restore(data, Moment{"other", 20 * time.Second, wall.Add(test.elapsed)}, nil)
		require.NoError(t, err)
		assert.Equal(t, Restored{Blocks: test.blocks, Expired: 5 - test.blocks}, done, test.elapsed)
		if test.left > 0 {
			assert.Equal(t, test.left, table.keys[key("198.51.100.7/32")][0].Left(20*time.Second))
		}
		consistent(t, table, 20*time.Second)
	}
}

func TestARestartWithSmallerLimits(t *testing.T) {
	data := filled(t).Snapshot(Moment{"boot", start, wall}, nil)
	set := exact()
	set.Limits = [Kinds]int{Rule: 1}
	table := New(set)
	done, err := table.Restore(data, Moment{"boot", start, wall}, nil)
	require.NoError(t, err)
	assert.Equal(t, Restored{Blocks: 1, Refused: 4}, done)
}

func TestARestartWithAShorterIPv6Prefix(t *testing.T) {
	table := New(exact())
	table.Block(ask("2001:db8::1", guessing), start)
	data := table.Snapshot(Moment{"boot", start, wall}, nil)
	set := exact()
	set.IPv6Prefix = 56
	table = New(set)
	_, err := table.Restore(data, Moment{"boot", start, wall}, nil)
	require.NoError(t, err)
	assert.Len(t, table.Get(key("2001:db8::/56")), 1)
}

func TestDamagedSnapshots(t *testing.T) {
	data := filled(t).Snapshot(Moment{"boot", start, wall}, nil)
	table := New(exact())
	for i := range data {
		_, err := table.Restore(data[:i], Moment{"boot", start, wall}, nil)
		require.ErrorIs(t, err, ErrDamaged)
		flipped := slices.Clone(data)
		flipped[i] ^= 0x10
		_, err = table.Restore(flipped, Moment{"boot", start, wall}, nil)
		require.Error(t, err)
		require.Zero(t, table.Len())
	}
	data[len(magic)]++
	_, err := table.Restore(data, Moment{"boot", start, wall}, nil)
	assert.ErrorIs(t, err, ErrVersion)
}

// FuzzRestore: no bytes make it fail or allocate beyond their own length, and what is accepted keeps to the limits.
func FuzzRestore(f *testing.F) {
	f.Add(filled(f).Snapshot(Moment{"boot", start, wall}, nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		// With a right checksum, so that more than the checksum is tried.
		data = binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
		for _, at := range []Moment{{"boot", start, wall}, {"", math.MaxInt64 / 4, time.Unix(math.MaxInt32, 0)}} {
			set := exact()
			set.Limits = [Kinds]int{3, 3, 3, 3}
			table := New(set)
			if _, err := table.Restore(data, at, nil); err != nil && table.Len() > 0 {
				t.Fatal("half restored")
			}
			for i := range Kinds {
				if table.Count(i) > 3 {
					t.Fatal("over the limit")
				}
			}
			table.Tick(at.Now + time.Hour)
			for k := range table.All() {
				table.Active(k, at.Now)
				table.Covering(k.Addr())
			}
		}
	})
}

func TestReplaceFollowsAList(t *testing.T) {
	table := New(exact())
	var told []Decision
	replace := func(now time.Duration, wanted ...Listed) Change {
		told = nil
		return table.Replace(file, wanted, now, func(d *Decision) { told = append(told, *d) })
	}
	one := Listed{Prefix: key("198.51.100.7/32"), Until: Forever}
	two := Listed{Prefix: key("203.0.113.0/24"), Until: start + time.Hour}
	assert.Equal(t, Change{Added: 2}, replace(start, one, two, one))
	assert.Len(t, told, 2)
	assert.Equal(t, Change{Kept: 2}, replace(start+1, one, two))
	assert.Empty(t, told)
	two.Until += time.Hour
	assert.Equal(t, Change{Kept: 1, Moved: 1}, replace(start+2, one, two))
	two.Until = start + time.Minute
	assert.Equal(t, Change{Gone: 1, Moved: 1}, replace(start+3, two))
	assert.Equal(t, Gone, told[0].Cause)
	table.Block(ask("203.0.113.0/24", guessing), start)
	assert.Equal(t, Change{Gone: 1}, replace(start+2*time.Minute, two), "its time is over")
	assert.Equal(t, 1, told[0].Others)
	assert.Equal(t, 1, table.Len(), "the rule's block stays")
	assert.Equal(t, Change{}, replace(start+2*time.Minute))
}

// TestAListAfterARestart: it is read again, or asked for again, and there is no second event.
func TestAListAfterARestart(t *testing.T) {
	wanted := func(after time.Duration) []Listed {
		return []Listed{{Prefix: key("198.51.100.7/32"), Until: start + time.Hour + after}, {Prefix: key("203.0.113.0/24"), Until: Forever}}
	}
	before := New(exact())
	before.Replace(crowdsec, wanted(0), start, func(*Decision) {})
	after := New(exact())
	_, err := after.Restore(before.Snapshot(Moment{"boot", start, wall}, nil), Moment{"boot", start + time.Minute, wall}, nil)
	require.NoError(t, err)
	for _, late := range []time.Duration{-3 * time.Second, 0, 3 * time.Second} {
		assert.Equal(t, Change{Kept: 2}, after.Replace(crowdsec, wanted(late), start+time.Minute, func(d *Decision) { t.Error(d) }))
	}
}

func TestReplaceAtACap(t *testing.T) {
	set := exact()
	set.Limits[File] = 10
	table := New(set)
	list := func(from, n int) (wanted []Listed) {
		for i := range n {
			wanted = append(wanted, Listed{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(from + i)}), 32), Until: Forever})
		}
		return wanted
	}
	tell := func(*Decision) {}
	assert.Equal(t, Change{Added: 10, Refused: 5}, table.Replace(file, list(0, 15), start, tell))
	assert.Equal(t, Change{Added: 10, Gone: 10}, table.Replace(file, list(100, 10), start, tell), "what is gone makes room")
}

func BenchmarkReplace100000(b *testing.B) {
	wanted := make([]Listed, 100_000)
	for i := range wanted {
		wanted[i] = Listed{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), Until: Forever}
	}
	table := New(exact())
	for b.Loop() {
		table.Replace(file, wanted, start, func(*Decision) {})
		table.Replace(file, nil, start, func(*Decision) {})
	}
}

func BenchmarkSnapshot100000(b *testing.B) {
	table := New(exact())
	for i := range 100_000 {
		r := &Request{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), Origin: file, TTL: time.Hour}
		table.Block(r, start)
	}
	for b.Loop() {
		data := table.Snapshot(Moment{"boot", start, wall}, nil)
		if done, err := New(exact()).Restore(data, Moment{"boot", start, wall}, nil); err != nil || done.Blocks != 100_000 {
			b.Fatal(done, err)
		}
	}
}
