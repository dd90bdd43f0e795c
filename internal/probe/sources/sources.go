// SPDX-License-Identifier: Apache-2.0

// Package sources is the vantage point on who sends segments to this host. The programs of
// bpf/sources count; here the counts are read once per interval and reported, and sources that
// are idle make room for others.
package sources

// Gives is what the vantage point reports.
const Gives = "tcp.server.source, tcp.server.listener: what each source of segments does"

// Figures are running totals since the start.
type Figures struct {
	// Entered are sources that got an entry at once, Promoted those that the sketch found.
	Entered, Promoted uint64
	// Full are segments of sources that found no room. Share is the same for want of a share of
	// their network namespace.
	Full, Share uint64
	// Tracked is the number of sources that are followed, Capacity how many there can be.
	Tracked, Capacity int
	// Crowded is the share of the sketch's cells that were taken in the last window.
	Crowded float64
	// Promote is from how many segments in a window on a source gets an entry.
	Promote uint32
}
