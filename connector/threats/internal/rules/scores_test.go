// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/evidence"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
)

// score has a model score windows of 10 s of a source, x for each that it finds high, and returns the
// windows in a row that were told.
func (l *lab) score(source uint64, windows string) (told []int) {
	const window = 10 * time.Second
	l.told = nil
	for _, high := range windows {
		begin := l.now
		if l.pass(window); high == 'x' {
			l.Score(catalogue.Model, evidence.Key{Lo: source}, 1, &finding.Finding{
				At: l.now, First: begin, Last: l.now, Count: 1, Source: attacker, Score: &finding.Score{Value: 1},
			})
		}
	}
	for _, f := range l.told {
		if f.Score != nil {
			told = append(told, f.Score.Windows)
		}
	}
	return told
}

// TestWindowsInARowAreToldOnce of a finding, however often they come again.
func TestWindowsInARowAreToldOnce(t *testing.T) {
	l := newLab(t)
	assert.Equal(t, []int{1, 2}, l.score(1, "xx-x-xx-xx-x-x-xx-"))
	assert.Equal(t, []int{3}, l.score(1, "xxx-xx-xxx-"))
	assert.Equal(t, []int{4, 5, 6, 7, 8, 9, 10}, l.score(1, "xxxxxxxxxxxxxxx-xxxxxxxxxxxx-"))
	assert.Equal(t, []int{1}, l.score(2, "x-x-x-"), "of another source")
	l.pass(time.Hour)
	l.Tick(l.now)
	assert.Equal(t, []int{1, 2}, l.score(1, "xx-xx"), "another finding")
}

// TestSuppressedWindowsAreNotTold: the next row of so many is.
func TestSuppressedWindowsAreNotTold(t *testing.T) {
	l := newLab(t, func(c *engine.Config) { c.MaxFindings = 1 })
	assert.Equal(t, []int{1}, l.score(1, "xx-"), "one a minute")
	l.pass(time.Minute)
	assert.Equal(t, []int{2}, l.score(1, "xx-xx-x"))
}
