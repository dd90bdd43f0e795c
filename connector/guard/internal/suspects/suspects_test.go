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
	s.Open(one, "login_guessing", 1, 0)
	s.Open(one, "slow_hold", 1, 0)
	s.Open(one, "slow_hold", 1, time.Second)
	assert.True(t, s.Has(one))
	assert.False(t, s.Has(two))
	assert.False(t, s.Ended(one, "slow_hold"), "another is open")
	assert.False(t, s.Ended(one, "slow_hold"))
	assert.False(t, s.Ended(two, "slow_hold"))
	assert.True(t, s.Has(one), "the other finding")
	assert.True(t, s.Ended(one, "login_guessing"))
	assert.False(t, s.Has(one))
	assert.Empty(t, s.sources)
}

// Otherwise a model would make a suspect of whom it likes.
func TestScoresAreNoFindings(t *testing.T) {
	s := New(10)
	for _, rule := range []string{"anomaly", "model/mine"} {
		assert.True(t, IsScore(rule))
		s.Open(one, rule, 1, 0)
	}
	assert.False(t, s.Has(one))
	assert.False(t, IsScore("models"))
}

func TestIsBounded(t *testing.T) {
	s := New(1)
	s.Open(one, "login_guessing", 1, 0)
	s.Open(two, "login_guessing", 1, 0)
	assert.True(t, s.Has(one))
	assert.False(t, s.Has(two), "over the limit")
	s.Open(one, "login_guessing", 1, time.Hour)
	s.Tick(keepFor+time.Minute, nil)
	assert.True(t, s.Has(one), "it grew since")
	var cleared []netip.Prefix
	s.Tick(keepFor+2*time.Hour, func(source netip.Prefix) { cleared = append(cleared, source) })
	assert.Equal(t, []netip.Prefix{one}, cleared)
	assert.False(t, s.Has(one), "its end was lost")
	s.Open(two, "login_guessing", 1, 0)
	assert.True(t, s.Has(two), "there is room again")
}

// Evidence of one rule is not that of another.
func TestEvidence(t *testing.T) {
	s := New(2)
	assert.EqualValues(t, 60, s.Open(one, "login_guessing", 60, 0))
	assert.EqualValues(t, 1, s.Open(one, "slow_hold", 1, 0))
	assert.EqualValues(t, 1, s.Open(one, "login_guessing", 61, 0))
	assert.Zero(t, s.Open(one, "login_guessing", 5, 0), "it began again")
	assert.Zero(t, s.Open(two, "login_guessing", 60, 0), "no room")
}
