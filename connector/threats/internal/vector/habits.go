// SPDX-License-Identifier: Apache-2.0

package vector

import (
	"math"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/table"
)

// Service is a port of a host.
type Service struct {
	Host uint64
	Port uint16
}

const (
	// habitBins are how many sizes, and how many durations, are told apart: two from one power of
	// two to the next.
	habitBins = 80
	// leastHabit is how many connections a service has before any is compared with them.
	leastHabit = 50
	// habitMemory is how many are learned before all counts are halved.
	habitMemory = 10_000
	// perWindow is how many connections of a source teach within a window, so that nobody makes
	// ordinary what he does very often.
	perWindow = 3
)

// habits know what connections to each service are like: how much they receive, and how long they
// last. They learn only of windows that were ordinary. In a full table, a new service displaces the one
// that was without a connection for longest; first one that is not known well.
type habits struct {
	services *table.Table[Service, habit]
}

func newHabits(limit int) habits { return habits{table.New[Service, habit](limit)} }

// displaced counts services that others displaced, by whether they were known well.
func (h *habits) displaced() [2]uint64 { return h.services.Evicted }

type habit struct {
	received, duration [habitBins]float32
	total              float32
}

// lesson is a connection that may be learned.
type lesson struct {
	of                 Service
	received, duration uint8
}

// lessons are those of a window.
type lessons struct {
	first [perWindow]lesson
	n     int
}

func (l *lessons) add(one lesson) {
	if l.n < perWindow {
		l.first[l.n] = one
		l.n++
	}
}

// rarity is how rare a connection is among those of its service: the mean of the negative
// logarithms of both shares. It is not a number if the service is not known well. What there is to
// learn of the connection is put among the lessons of its source.
func (h *habits) rarity(of Service, c *Closed, to *lessons) float64 {
	if c.Received < 0 || c.Duration < 0 {
		return math.NaN()
	}
	received, duration := habitBin(c.Received), habitBin(1e3*c.Duration)
	to.add(lesson{of, uint8(received), uint8(duration)})
	known := h.services.Get(of)
	if known == nil || known.total < leastHabit {
		return math.NaN()
	}
	return (surprise(&known.received, received, known.total) + surprise(&known.duration, duration, known.total)) / 2
}

// learn takes the lessons of an ordinary window.
func (h *habits) learn(from *lessons) {
	for _, one := range from.first[:from.n] {
		known := h.services.Get(one.of)
		if known == nil {
			known = h.services.Add(one.of)
		}
		if known.learn(int(one.received), int(one.duration)); known.total >= leastHabit {
			h.services.Keep(one.of)
		}
	}
}

func (k *habit) learn(received, duration int) {
	k.received[received]++
	k.duration[duration]++
	if k.total++; k.total < habitMemory {
		return
	}
	k.total /= 2
	for i := range k.received {
		k.received[i] /= 2
		k.duration[i] /= 2
	}
}

// surprise counts neighbours, too, for what is alike may be on both sides of a bound.
func surprise(counts *[habitBins]float32, at int, total float32) float64 {
	sum := counts[at]
	if at > 0 {
		sum += counts[at-1]
	}
	if at < habitBins-1 {
		sum += counts[at+1]
	}
	return -math.Log(min(1, float64((sum+1)/(total+1))))
}

// habitBin has the exponent of a number and the first bit behind it.
func habitBin(value float64) int {
	return int(min(math.Float64bits(1+value)>>51-2*1023, habitBins-1))
}
