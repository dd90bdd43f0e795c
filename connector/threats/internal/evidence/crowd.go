// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"math"
)

// crowdBits is the size of the two maps of a crowd.
const crowdBits = 2048

// Crowd are the sources and the closed ports of a window of time: many sources, few ports each.
type Crowd struct {
	Since          int64
	Sources, Ports [crowdBits / 64]uint64
	Zeros          [2]int
	Named          []string
}

// NewCrowd makes an empty one.
func NewCrowd(since int64) *Crowd {
	return &Crowd{Since: since, Zeros: [2]int{crowdBits, crowdBits}}
}

// See counts a source and a port, and tells whether the source is new.
func (c *Crowd) See(source, port uint64) bool {
	fresh := mark(c.Sources[:], source)
	if fresh {
		c.Zeros[0]--
	}
	if mark(c.Ports[:], port) {
		c.Zeros[1]--
	}
	return fresh
}

// Sizes are estimates of how many sources and ports there are.
func (c *Crowd) Sizes() (sources, ports int) { return estimate(c.Zeros[0]), estimate(c.Zeros[1]) }

func mark(bits []uint64, hash uint64) bool {
	bit := hash % crowdBits
	word, mask := &bits[bit/64], uint64(1)<<(bit%64)
	fresh := *word&mask == 0
	*word |= mask
	return fresh
}

// estimate is linear counting.
func estimate(zeros int) int {
	return int(crowdBits*math.Log(crowdBits/float64(max(zeros, 1))) + 0.5)
}
