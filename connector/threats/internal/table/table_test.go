// SPDX-License-Identifier: Apache-2.0

package table

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestKeptEntriesSurviveAFlood(t *testing.T) {
	table := New[int, int](1000)
	for i := range 500 {
		*table.Add(i) = i
		table.Keep(i)
	}
	for i := range 1_000_000 {
		table.Add(1000 + i)
	}
	assert.Equal(t, 1000, table.Len())
	for i := range 500 {
		value := table.Get(i)
		require.NotNil(t, value)
		assert.Equal(t, i, *value)
	}
	assert.Equal(t, [2]uint64{999_500, 0}, table.Evicted)
}

func TestMoreKeptThanThereIsRoomFor(t *testing.T) {
	table := New[int, int](100)
	for i := range 1000 {
		table.Add(i)
		table.Keep(i)
	}
	assert.Equal(t, 100, table.Len())
	assert.NotNil(t, table.Get(999))
	assert.Nil(t, table.Get(0))
	table.Keep(0)
}

// TestAgainstAPlainMap does at random what callers do.
func TestAgainstAPlainMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const limit, keys = 300, 1000
	table, plain := New[int, int](limit), map[int]int{}
	for step := range 200_000 {
		key := random.IntN(keys)
		switch random.IntN(5) {
		case 0:
			table.Delete(key)
			delete(plain, key)
		case 1:
			table.Keep(key)
		default:
			value := table.Get(key)
			if value == nil {
				value = table.Add(key)
			} else {
				require.Equal(t, plain[key], *value)
			}
			*value, plain[key] = step, step
		}
		require.LessOrEqual(t, table.Len(), limit)
	}
	seen := 0
	for key, value := range table.All() {
		assert.Equal(t, plain[key], *value)
		seen++
	}
	assert.Equal(t, table.Len(), seen)
	for key := range table.All() {
		table.Delete(key)
	}
	assert.Zero(t, table.Len())
	assert.Zero(t, table.kept)
	assert.Equal(t, none, table.fresh)
	assert.Equal(t, none, table.keep)
}
