// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEveryEventAndCauseHasAName(t *testing.T) {
	for e := range Events {
		assert.NotEmpty(t, e.String())
	}
	seen := map[string]bool{}
	for c := range Causes {
		name := c.Place() + " " + c.Reason()
		assert.NotContains(t, seen, name)
		assert.NotEmpty(t, c.Place())
		assert.NotEmpty(t, c.Reason())
		seen[name] = true
	}
}

func TestAccountedEvents(t *testing.T) {
	assert.Equal(t, []Event{Connection, Open, Failed, Packet, Segment, Request, Handshake, Source, Service, Update}, slices.Collect(AccountedEvents()))
}

// TestLossesNameTheirLimit: every loss that a setting causes names the setting.
func TestLossesNameTheirLimit(t *testing.T) {
	without := []Cause{MapStale, ParserFault, Unproven, Undecodable, Refused, Shutdown}
	for e := range Events {
		for c := range Causes {
			switch {
			case !e.CanLose(c):
				continue
			case slices.Contains(without, c):
				assert.Empty(t, e.Limit(c), "%s at %s: %s", e, c.Place(), c.Reason())
			default:
				assert.NotEmpty(t, e.Limit(c), "%s at %s: %s", e, c.Place(), c.Reason())
			}
		}
	}
	assert.Equal(t, "limits::connections", Connection.Limit(MapShare))
	assert.Equal(t, "limits::ring_bytes", Process.Limit(RingFull))
	assert.Equal(t, "limits::inspect_ring_bytes", Segment.Limit(RingFull))
	assert.Equal(t, "packets::max_per_second", Packet.Limit(RateLimited))
}

func TestCanLose(t *testing.T) {
	assert.True(t, Connection.CanLose(QueueFull))
	assert.False(t, Connection.CanLose(RateLimited))
	assert.False(t, Connection.CanLose(TableFull))
	assert.True(t, Process.CanLose(Undecodable))
	assert.False(t, Process.CanLose(QueueFull), "the receiver uses it itself")
	assert.True(t, Request.CanLose(BudgetFull))
	assert.False(t, Segment.CanLose(QueueFull), "no consumer gets it")
	assert.True(t, Request.CanLose(QueueFull))
	assert.False(t, Request.CanLose(RingFull), "user space finds it")
	assert.True(t, PortCount.CanLose(TableFull))
	assert.False(t, PortCount.CanLose(RingFull), "it does not pass the ring")
}
