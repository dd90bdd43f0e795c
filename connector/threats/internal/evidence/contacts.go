// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"math"
	"slices"
)

// MaxFew is how many destinations are kept as they are, before a map of bits takes over.
const MaxFew = 8

// mapBits is the size of that map.
const mapBits = 2048

// Contacts are the destinations that a source has tried to connect to. What counts is the first
// contact with each.
type Contacts struct {
	// Few are hashes of the first destinations.
	Few []uint32
	// Map has a bit for each destination, from the ninth on.
	Map []uint64
	// Zeros is the number of bits that are not set.
	Zeros int
	// Connected and Failed are estimates of how many there are.
	Connected, Failed float64
	Walk              Walk
	// Set is not 0 if the source is one of a set that scans together.
	Set uint64
}

// First notes a contact. It returns how many destinations it stands for: 0 if it is not the
// first, 1 if it is, and more where the map is so full that some were missed (linear counting).
func (c *Contacts) First(destination uint64) float64 {
	few := uint32(destination)
	if slices.Contains(c.Few, few) {
		return 0
	}
	if len(c.Few) < MaxFew {
		c.Few = append(c.Few, few)
		return 1
	}
	if c.Map == nil {
		c.Map, c.Zeros = make([]uint64, mapBits/64), mapBits
	}
	bit := destination >> 32 % mapBits
	word, mask := &c.Map[bit/64], uint64(1)<<(bit%64)
	if *word&mask != 0 {
		return 0
	}
	weight := mapBits / float64(c.Zeros)
	*word |= mask
	c.Zeros--
	return weight
}

// Walk is a sequential hypothesis test (Jung et al. 2004): the logarithm of how much more likely
// the outcomes are for a scanner than for a client.
type Walk struct {
	Level float64
	// Failed is the evidence, First when it began.
	Failed float64
	First  int64
	// Found is set from the time that it is over the threshold.
	Found bool
}

// Odds are the thresholds and steps of a walk.
type Odds struct {
	Up, Down, Scanner, Client float64
}

// NewOdds takes the probabilities that a first contact succeeds, for clients and for scanners, and
// those of a false alarm and of a detection.
func NewOdds(client, scanner, falseAlarm, detection float64) Odds {
	return Odds{
		Up:      math.Log((1 - scanner) / (1 - client)),
		Down:    math.Log(scanner / client),
		Scanner: math.Log(detection / falseAlarm),
		Client:  math.Log((1 - detection) / (1 - falseAlarm)),
	}
}

// Step takes a number of outcomes. The walk does not go below the threshold for clients: so many
// successes weigh no more than that.
func (w *Walk) Step(o *Odds, failed, connected float64, at int64) {
	if failed > 0 && w.Failed == 0 {
		w.First = at
	}
	w.Failed += failed
	w.Level = max(w.Level+connected*o.Down, o.Client) + failed*o.Up
}

// Confidence is the probability that belongs to the walk.
func (w *Walk) Confidence() float64 { return 1 - 1/(1+math.Exp(min(w.Level, 50))) }

// Restart begins a new test. The contacts stay known.
func (w *Walk) Restart() { *w = Walk{} }

// Similar tells whether two sources have tried the same destinations, as far as they are kept.
func Similar(a, b []uint32) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	common := 0
	for _, destination := range a {
		if slices.Contains(b, destination) {
			common++
		}
	}
	return 2*common >= min(len(a), len(b))
}
