// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package clock

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClock(t *testing.T) {
	var c Clock
	require.NoError(t, c.Refresh())
	const slack = int64(time.Second)
	assert.InDelta(t, time.Now().UnixNano(), c.Unix(c.Boot()), float64(slack))
	assert.Equal(t, c.Unix(1_000)+5, c.Unix(1_005))
}

func TestMonotonic(t *testing.T) {
	before, err := Monotonic()
	require.NoError(t, err)
	after, err := Monotonic()
	require.NoError(t, err)
	assert.LessOrEqual(t, before, after)
	var c Clock
	require.NoError(t, c.Refresh())
	at := c.FromMonotonic(uint64(before))
	assert.WithinDuration(t, time.Now(), time.Unix(0, at), time.Minute)
	for range 1000 { // the clocks are read one after the other, and stay comparable
		require.NoError(t, c.Refresh())
	}
	assert.Less(t, c.FromMonotonic(uint64(before))-c.Unix(c.Boot()), int64(0), "it is over")
	// The boot clock also runs while the host is suspended.
	assert.LessOrEqual(t, uint64(before), c.Boot()+uint64(time.Second))
}
