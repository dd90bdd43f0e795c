// SPDX-License-Identifier: Apache-2.0

package vector

import "math/bits"

// Count is a fact about a source that records of tcp.server.source have.
type Count uint8

// The counts of an interval, those since the source was first seen, and those of the moment.
const (
	SYNListening Count = iota
	SYNClosed
	FlagsNull
	FlagsFIN
	FlagsXmas
	FlagsSYNFIN
	FlagsSYNRST
	Malformed
	PortZero
	Land
	ResetSYN
	ResetSYNACK
	ResetFlags
	ResetOther
	Completed
	HalfOpenReset
	HalfOpenTimeout
	ClosedCount
	Unanswered

	Ports
	PortsFailed
	PortsStray
	Open
	OpenSilent
	ReceiveRate

	counts
)

// firstLevel is the first count that is not of an interval. The highest of a window counts.
const firstLevel = Ports

// Facts are the counts of one record. One that was not read is absent, which is not 0.
type Facts struct {
	values [counts]float64
	known  uint32
}

// Set sets a count.
func (f *Facts) Set(c Count, value float64) {
	f.values[c] = value
	f.known |= 1 << c
}

// merge adds the record of another interval.
func (f *Facts) merge(other *Facts) {
	for left := other.known; left != 0; left &= left - 1 {
		c := Count(bits.TrailingZeros32(left))
		if c < firstLevel {
			f.values[c] += other.values[c]
		} else {
			f.values[c] = max(f.values[c], other.values[c])
		}
	}
	f.known |= other.known
}

// has reports whether any of these counts was read.
func (f *Facts) has(wanted ...Count) bool {
	for _, c := range wanted {
		if f.known&(1<<c) != 0 {
			return true
		}
	}
	return false
}

// sum adds counts; those that were not read add nothing.
func (f *Facts) sum(wanted ...Count) float64 {
	total := 0.0
	for _, c := range wanted {
		total += f.values[c]
	}
	return total
}

// Closed is a connection of the source that was closed: tcp.server.connection.close. A member
// is negative where the record has none.
type Closed struct {
	// Duration is in seconds.
	Duration float64
	// Received and Sent are bytes of payload.
	Received, Sent float64
	// RTT is in seconds.
	RTT float64
	// ClientReset reports whether the client ended it with a reset.
	ClientReset bool
}

// mean is a mean of what was read.
type mean struct{ sum, n float64 }

func (m *mean) add(value float64) {
	if value >= 0 {
		m.sum += value
		m.n++
	}
}

// endings are the closed connections of a window.
type endings struct {
	closed, reset                 float64
	duration, received, sent, rtt mean
	// unlike is how rare connections are among those of their service.
	unlike mean
}

func (e *endings) add(c *Closed) {
	e.closed++
	if c.ClientReset {
		e.reset++
	}
	e.duration.add(c.Duration)
	e.received.add(c.Received)
	e.sent.add(c.Sent)
	e.rtt.add(c.RTT)
}
