// SPDX-License-Identifier: Apache-2.0

package tally

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAdds(t *testing.T) {
	a, b := netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("198.51.100.8/32")
	rule, file := By{"rule", "login_guessing"}, By{"file", "/list"}
	tally := New()
	tally.Touch(rule)
	assert.Equal(t, map[By]Counts{rule: {}}, maps.Collect(tally.All()))
	assert.True(t, tally.Add(a, rule, Counts{2, 200}))
	assert.False(t, tally.Add(a, rule, Counts{2, 200}))
	assert.True(t, tally.Add(b, file, Counts{1, 50}))
	assert.True(t, tally.Add(a, rule, Counts{3, 260}))
	tally.Forget(a)
	assert.True(t, tally.Add(a, file, Counts{1, 10}))
	assert.Equal(t, map[By]Counts{rule: {3, 260}, file: {2, 60}}, maps.Collect(tally.All()))
}

func TestIsBounded(t *testing.T) {
	tally := New()
	for i := range 3 * most {
		tally.Add(netip.MustParsePrefix("198.51.100.7/32"), By{"rule", fmt.Sprint(i)}, Counts{uint64(i + 1), 0})
		tally.Touch(By{"file", fmt.Sprint(i)})
	}
	all := maps.Collect(tally.All())
	assert.LessOrEqual(t, len(all), most+1)
	var sum uint64
	for _, counts := range all {
		sum += counts.Packets
	}
	assert.EqualValues(t, 3*most, sum)
}
