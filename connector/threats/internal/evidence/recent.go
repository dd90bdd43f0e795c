// SPDX-License-Identifier: Apache-2.0

package evidence

import "time"

// slots is how many parts a window has.
const slots = 6

// Recent counts what happened within a window of time, to a sixth of it.
type Recent struct {
	Slots [slots]uint32
	// Slot is the number of the latest one.
	Slot int64
}

// Add counts n more, and returns the sum of the window.
func (c *Recent) Add(at int64, window time.Duration, n uint32) uint32 {
	c.turn(at / (int64(window) / slots))
	c.Slots[c.Slot%slots] += n
	return c.sum()
}

// turn clears what is older than the window. What comes late counts as the latest.
func (c *Recent) turn(slot int64) {
	if slot-c.Slot >= slots {
		c.Slots = [slots]uint32{}
	} else {
		for s := c.Slot + 1; s <= slot; s++ {
			c.Slots[s%slots] = 0
		}
	}
	c.Slot = max(c.Slot, slot)
}

func (c *Recent) sum() uint32 {
	sum := uint32(0)
	for _, n := range c.Slots {
		sum += n
	}
	return sum
}

// Bucket leaks one each period.
type Bucket struct {
	Level float64
	Last  int64
	// First is when it began to fill.
	First int64
	Total uint64
}

// Pour adds one and returns the level.
func (b *Bucket) Pour(at int64, period time.Duration) float64 {
	if at > b.Last {
		b.Level = max(0, b.Level-float64(at-b.Last)/float64(period))
		b.Last = at
	}
	if b.Level == 0 {
		b.First, b.Total = at, 0
	}
	b.Level++
	b.Total++
	return b.Level
}
