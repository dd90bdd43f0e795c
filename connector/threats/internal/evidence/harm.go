// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"math"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
)

// Fading is how many seconds the means look back.
const Fading = 60

// Flood is a CUSUM over handshakes that don't complete (after Wang, Zhang and Shin 2002).
type Flood struct {
	// Mean is the rate of completed handshakes, per second.
	Mean float64
	Sum  float64
	// Count is the evidence since First.
	Count float64
	First int64
	// Recent is what is not complete, Since the sum was last 0.
	Recent float64
}

// Harm is what a service suffers.
type Harm struct {
	// Accept is the usual median time in the accept queue, in seconds; 0 if none is known.
	Accept float64
	// Full and Slow are how many intervals in a row the queue was full and accepting was slow.
	Full, Slow int
	// Intervals is how many were harmful since First.
	Intervals uint64
	First     int64
}

// Note adds the counters of a namespace to those of the last intervals.
func (n *Namespace) Note(c *reading.ServiceCounts, now int64) {
	const intervals = 4
	if float64(now-n.Since)/1e9 > intervals*c.Interval {
		// A quarter stays, so that a listener's record finds what was just counted.
		n.Since = now
		n.Cookies, n.Drops, n.Embryonic, n.Overflows = n.Cookies/intervals, n.Drops/intervals, n.Embryonic/intervals, n.Overflows/intervals
	}
	n.Cookies += float64(c.Cookies + c.QueueFullCookies)
	n.Drops += float64(c.QueueFullDrops)
	n.Embryonic += float64(c.EmbryonicResets)
	n.Overflows += float64(c.NamespaceOverflows)
}

// Attempts adds what a source did, or all that have no record of their own.
func (n *Namespace) Attempts(c *reading.SourceCounts) {
	n.Syn += c.SynListening
	n.Completed += c.Completed
}

// Handshakes takes what the sources did since the last time.
func (n *Namespace) Handshakes(interval float64) reading.ServiceCounts {
	c := reading.ServiceCounts{Interval: interval, Syn: n.Syn, Completed: n.Completed}
	n.Syn, n.Completed = 0, 0
	return c
}

// Confirms asks the kernel's own counters: a full queue of handshakes, or clients that reset what
// they never asked for. If the accept queue is full, the service is slow, and that is overload.
func (n *Namespace) Confirms(open float64, c *reading.ServiceCounts, now int64) bool {
	const stale = 60e9
	if float64(now-n.Last) > stale {
		return false
	}
	if 2*float64(c.Overflow) > float64(c.Syn-c.Completed) {
		return false
	}
	return n.Cookies > 0 || n.Drops > 0 || 4*n.Embryonic >= min(open, float64(c.Syn))
}

// Answers notes how many connections of the service were answered. Old ones fade within a day.
func (s *Service) Answers(c *reading.ServiceCounts) {
	const day = 24 * 3600
	fade := math.Exp(-c.Interval / day)
	s.Closed = s.Closed*fade + float64(c.Closed)
	s.ClosedAnswered = s.ClosedAnswered*fade + float64(c.ClosedAnswered)
	if c.Open >= 0 && c.OpenAnswered >= 0 {
		s.Open, s.OpenAnswered = float64(c.Open), float64(c.OpenAnswered)
	}
}

// Answered is the share of connections that were answered, without so many open ones of a source
// that were not; 0 if there are no others.
func (s *Service) Answered(without float64) float64 {
	others := s.Closed + max(s.Open-without, s.OpenAnswered)
	if others == 0 {
		return 0
	}
	return (s.ClosedAnswered + s.OpenAnswered) / others
}
