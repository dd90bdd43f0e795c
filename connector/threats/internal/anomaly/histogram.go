// SPDX-License-Identifier: Apache-2.0

package anomaly

import (
	"math"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

const (
	// bins is how many values of a feature are told apart.
	bins = 250
	// perDoubling is how many of them a count has from one power of two to the next. They are
	// the leading bits of the number, because a logarithm for each feature would cost far more
	// than all the rest of a score.
	perDoubling = 1 << mantissaBits
	// mantissaBits are read behind the exponent.
	mantissaBits = 3
	// absent stands for a feature that was not read.
	absent = 255
)

// binned is a vector as its bins.
type binned [vector.Size]uint8

func bin(v *vector.Vector) binned {
	var b binned
	for i, value := range v {
		if value != value {
			b[i] = absent
			continue
		}
		value = max(0, value)
		place := uint64(min(value, 1) * (bins - 1))
		if d := vector.Feature(i).Describe(); d.Logarithmic {
			place = math.Float64bits(1+d.Factor*value)>>(52-mantissaBits) - 1023*perDoubling
		}
		b[i] = uint8(min(place, bins-1))
	}
	return b
}

// histogram is how often a feature had a value of each bin.
type histogram struct {
	Counts [bins]float64 `json:"counts"`
	Total  float64       `json:"total"`
}

func (h *histogram) add(bin uint8) {
	if bin != absent {
		h.Counts[bin]++
		h.Total++
	}
}

func (h *histogram) halve() {
	h.Total = 0
	for i := range h.Counts {
		h.Counts[i] /= 2
		h.Total += h.Counts[i]
	}
}

// quantile is the first bin up to which a share of the values lies.
func (h *histogram) quantile(share float64) int {
	sum := 0.0
	for i, n := range h.Counts {
		if sum += n; sum >= share*h.Total && sum > 0 {
			return i
		}
	}
	return bins - 1
}

// deviation is the median distance from a bin.
func (h *histogram) deviation(center int) int {
	sum := h.Counts[center]
	for distance := 1; distance < bins && sum < h.Total/2; distance++ {
		if center-distance >= 0 {
			sum += h.Counts[center-distance]
		}
		if center+distance < bins {
			sum += h.Counts[center+distance]
		}
		if sum >= h.Total/2 {
			return distance
		}
	}
	return 0
}

// surprises are, for each bin, the negative logarithms of the tail that begins there (ECOD: Li et
// al. 2022). Features with two sides take the rarer tail. A value that was never seen counts as if
// it had been seen once.
func (h *histogram) surprises(side vector.Side, into *[bins]float64) {
	above, below := 0.0, 0.0
	for i := bins - 1; i >= 0; i-- {
		above += h.Counts[i]
		into[i] = above
	}
	for i, n := range h.Counts {
		below += n
		tail := into[i]
		if side == vector.Both {
			tail = min(tail, below)
		}
		into[i] = -math.Log((tail + 1) / (h.Total + 1))
	}
}

const (
	// ofDeviation turns a median deviation into a standard deviation of a normal distribution,
	// and ofQuantile the distance of the 0.99 quantile from the median.
	ofDeviation = 1.4826
	ofQuantile  = 1 / 2.326
	// leastSpread, in bins, is for features that are nearly always the same: about 25 % of a
	// count, or 0.01 of a share.
	leastSpread = 2.5
	// furthest bounds what one feature adds.
	furthest = 50
)

// distances are, for each bin, how many standard deviations it is from the median. Each side has
// its own spread: the larger one that the median deviation and the 0.99 quantile tell, so that
// long tails are ordinary.
func (h *histogram) distances(side vector.Side, into *[bins]float64) {
	center := h.quantile(0.5)
	spread := max(leastSpread, ofDeviation*float64(h.deviation(center)))
	up := max(spread, ofQuantile*float64(h.quantile(0.99)-center))
	down := max(spread, ofQuantile*float64(center-h.quantile(0.01)))
	for i := range into {
		switch distance := float64(i - center); {
		case distance >= 0:
			into[i] = min(furthest, distance/up)
		case side == vector.Both:
			into[i] = min(furthest, -distance/down)
		default:
			into[i] = 0
		}
	}
}
