// SPDX-License-Identifier: Apache-2.0

package shares

import "time"

// Settings of a judge.
type Settings struct {
	// IPv6Prefix is the length that stands for one source, as for blocks.
	IPv6Prefix int
	// MaxShare is the part of the completed connections from which on a source stands for many.
	MaxShare float64
	// WellServed is how many connections of a window were served well at least, and Ratio how many
	// for each piece of evidence.
	WellServed, Ratio int64
	// MaxEvidence of a window, or a finding open for MaxOpen, ends an exemption.
	MaxEvidence int64
	MaxOpen     time.Duration
	// Window is how far back shares look, and how long records must have been seen.
	Window time.Duration
	// Least is how many connections a window must have, so that parts of them mean anything.
	Least int64
	// Few addresses through which Most of the connections come leave nobody to block.
	Few  int
	Most float64
	// Sources are kept; of those that were served well in the last day, Served.
	Sources, Served int
	// Errors are the connections that are known to have had an answer of 4xx or 5xx.
	Errors int
}

// Defaults are those of the configuration.
func Defaults() Settings {
	return Settings{
		IPv6Prefix: 64, MaxShare: 0.2, WellServed: 50, Ratio: 10, MaxEvidence: 100, MaxOpen: time.Hour,
		Window: 10 * time.Minute, Least: 50, Few: 5, Most: 0.8, Sources: 32_768, Served: 131_072, Errors: 65_536,
	}
}

// slots is into how many parts a window is divided.
const slots = 10

// ring sums up what happened in a window, slot by slot.
type ring struct {
	slot   [slots]uint32
	sum    uint32
	newest int64
}

// turn forgets what is older than a window. The number of a slot is the time in slots.
func (r *ring) turn(slot int64) {
	if slot <= r.newest {
		return
	}
	for n := range min(slot-r.newest, slots) {
		old := &r.slot[(r.newest+1+n)%slots]
		r.sum -= *old
		*old = 0
	}
	r.newest = slot
}

func (r *ring) add(n int64, slot int64) {
	r.turn(slot)
	// So that no sum is ever too great.
	const most = 1<<32/slots - 1
	at := &r.slot[r.newest%slots]
	n = min(n, most-int64(*at))
	*at += uint32(n)
	r.sum += uint32(n)
}

func (r *ring) total(slot int64) int64 {
	r.turn(slot)
	return int64(r.sum)
}
