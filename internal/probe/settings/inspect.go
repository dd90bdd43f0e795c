// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"math/bits"
	"time"
)

// Inspect says what is looked for inside packets. The zero value inspects nothing.
type Inspect struct {
	// HTTP are the ports where HTTP/1.x is spoken. Ranges may overlap.
	HTTP []InspectedPorts
	// UnderWay makes snapshots report the requests that have begun and not ended.
	UnderWay bool
	// TLS are the ports where TLS begins. On ports of both, the first byte decides.
	TLS []PortRange
	// TLSIdleTimeout is how long either side of a handshake may say nothing.
	TLSIdleTimeout time.Duration
	// HeadBytes bounds the head of a request or an answer.
	HeadBytes int
	// IdleTimeout is how long a request may wait for an answer without any byte.
	IdleTimeout time.Duration
	// MaxConnections is how many connections are followed at one time, in the kernel and in
	// user space.
	MaxConnections uint32
	// MaxBytes bounds what user space keeps of all connections together.
	MaxBytes int
	// RingBytes is the size of the ring buffer of payload, a power of two of whole pages.
	RingBytes uint32
}

// InspectedPorts are ports, and what of their bodies is wanted.
type InspectedPorts struct {
	PortRange
	Bodies
	// ForRecords is set if only records need the bodies.
	ForRecords bool
}

// Bodies bounds the bytes of bodies that cross to user space.
type Bodies struct {
	// Request and Answer are the first bytes of each; 0 is none.
	Request, Answer int
	// Tail are the last bytes of an answer; 0 is none.
	Tail int
}

// On reports whether anything is inspected.
func (i *Inspect) On() bool { return len(i.HTTP) > 0 || len(i.TLS) > 0 }

// Bounds of a port's window, as binary logarithms.
const (
	// leastWindow suffices for heads and what follows them until user space has parsed them.
	leastWindow = 15
	// windowOfEnds is for ports where the end of answers is wanted. User space follows the whole
	// of a stream, whose bytes pass at once if a proxy kept them.
	windowOfEnds = 20
)

// Windows has, for each port that is inspected, the window behind what is wanted in which
// segments are copied, as its binary logarithm. Other ports have 0. Bodies that are wanted are
// within the window, because they can pass before user space has parsed their head. The programs may
// be behind what is wanted by an eighth of it.
func (i *Inspect) Windows() *[Ports]uint8 {
	var windows [Ports]uint8
	widen := func(r PortRange, window int) {
		for port := int(r.First); port <= int(r.Last); port++ {
			windows[port] = max(windows[port], uint8(window))
		}
	}
	for _, r := range i.HTTP {
		window := max(leastWindow, bits.Len(uint(max(r.Request, r.Answer)+i.HeadBytes)*8/7))
		if r.Tail > 0 {
			window = max(window, windowOfEnds)
		}
		widen(r.PortRange, window)
	}
	for _, r := range i.TLS {
		widen(r, leastWindow)
	}
	return &windows
}

// Protocols reports what is looked for on a port.
func (i *Inspect) Protocols(port uint16) (http, tls bool) {
	_, http = i.BodiesOf(port)
	for _, r := range i.TLS {
		tls = tls || r.First <= port && port <= r.Last
	}
	return http, tls
}

// BodiesOf returns the greatest bounds of a port; false if HTTP is not looked for there.
func (i *Inspect) BodiesOf(port uint16) (Bodies, bool) {
	var bodies Bodies
	found := false
	for _, r := range i.HTTP {
		if r.First <= port && port <= r.Last {
			found = true
			bodies.Request = max(bodies.Request, r.Request)
			bodies.Answer = max(bodies.Answer, r.Answer)
			bodies.Tail = max(bodies.Tail, r.Tail)
		}
	}
	return bodies, found
}
