// SPDX-License-Identifier: Apache-2.0

package suspects

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

var one, two = netip.MustParsePrefix("198.51.100.1/32"), netip.MustParsePrefix("2001:db8::/64")

func TestOpensAndEnds(t *testing.T) {
	s := New(10)
	assert.False(t, s.Has(one))
	s.Open(one, "login_guessing", 0)
	s.Open(one, "slow_hold", 0)
	s.Open(one, "slow_hold", time.Second)
	assert.True(t, s.Has(one))
	assert.False(t, s.Has(two))
	s.Ended(one, "slow_hold")
	s.Ended(one, "slow_hold")
	s.Ended(two, "slow_hold")
	assert.True(t, s.Has(one), "the other finding")
	s.Ended(one, "login_guessing")
	assert.False(t, s.Has(one))
	assert.Empty(t, s.sources)
}

// Otherwise a model would make a suspect of whom it likes.
func TestScoresAreNoFindings(t *testing.T) {
	s := New(10)
	for _, rule := range []string{"anomaly", "model/mine"} {
		assert.True(t, IsScore(rule))
		s.Open(one, rule, 0)
	}
	assert.False(t, s.Has(one))
	assert.False(t, IsScore("models"))
}

func TestIsBounded(t *testing.T) {
	s := New(1)
	s.Open(one, "login_guessing", 0)
	s.Open(two, "login_guessing", 0)
	assert.True(t, s.Has(one))
	assert.False(t, s.Has(two), "over the limit")
	s.Open(one, "login_guessing", time.Hour)
	s.Tick(keepFor + time.Minute)
	assert.True(t, s.Has(one), "it grew since")
	s.Tick(keepFor + 2*time.Hour)
	assert.False(t, s.Has(one), "its end was lost")
	s.Open(two, "login_guessing", 0)
	assert.True(t, s.Has(two), "there is room again")
}
