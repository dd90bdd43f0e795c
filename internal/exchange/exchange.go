// SPDX-License-Identifier: Apache-2.0

// Package exchange has the table of the connections whose payload is inspected. It decides
// what is spoken on each, and owns what that costs: connections, buffers and time. The
// protocols report exchanges.
package exchange

import (
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// What the table shares with the protocols.
type (
	Key  = stream.Key
	Port = stream.Port
	Loss = stream.Loss
)

// Losses.
const (
	LossBudget   = stream.LossBudget
	LossTable    = stream.LossTable
	LossDepth    = stream.LossDepth
	LossUnproven = stream.LossUnproven
	Losses       = stream.Losses
)

// Defaults, and bounds.
const (
	DefaultHeadBytes   = 8 << 10
	MaxHeadBytes       = 64 << 10
	DefaultIdleTimeout = time.Minute
)

// Options say how a table works. Functions may be nil, except Report.
type Options struct {
	stream.Options
	// MaxConnections and MaxBytes bound the table and its buffers.
	MaxConnections, MaxBytes int
	// IdleTimeout is after how long without a segment a request counts as unanswered.
	IdleTimeout time.Duration
	// Forget tells the kernel side that a connection is over.
	Forget func(key *Key)
	// Report takes an exchange, which is reused after the call.
	Report func(*request.Exchange)
	// Protocols are those of a port. If it is nil, all ports speak HTTP.
	Protocols func(port uint16) Protocols
	// TLS is about ports that speak it.
	TLS TLS
}

func (o *Options) defaults() {
	if o.HeadBytes <= 0 {
		o.HeadBytes = DefaultHeadBytes
	}
	o.HeadBytes = min(o.HeadBytes, MaxHeadBytes)
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = DefaultIdleTimeout
	}
	if o.TLS.IdleTimeout <= 0 {
		o.TLS.IdleTimeout = DefaultIdleTimeout
	}
	if o.Ports == nil {
		o.Ports = func(uint16) Port { return Port{} }
	}
	if o.Want == nil {
		o.Want = func(*Key, stream.Direction, uint32) {}
	}
	if o.Passed == nil {
		o.Passed = func(*Key, stream.Direction) (uint32, int64) { return 0, 0 }
	}
	if o.Follows == nil {
		o.Follows = func(*Key, stream.Direction) bool { return true }
	}
	if o.Follow == nil {
		o.Follow = func(*Key, stream.Direction, uint32) {}
	}
	if o.Widen == nil {
		o.Widen = func(*Key, stream.Direction) {}
	}
	if o.Forget == nil {
		o.Forget = func(*Key) {}
	}
	if o.Lost == nil {
		o.Lost = func(Loss, int) {}
	}
}

// Figures are what the table counts.
type Figures struct {
	stream.Figures
	// Connections and Bytes are how many there are now.
	Connections, Bytes int
}

// talk is a connection in the hands of a protocol. Segment and Sweep report whether the
// connection is over; then End follows, and nothing else.
type talk interface {
	// Segment takes a segment, and what is known of the connection now.
	Segment(on *request.Connection, s *stream.Segment) bool
	// Sweep gives up what waited too long: answers, if nothing was seen since idle.
	Sweep(now, idle int64) bool
	// UnderWay calls yield with each request that has begun and not ended.
	UnderWay(yield func(*request.Exchange))
	// End reports what is under way.
	End()
	// Origin is the number of the first byte to the server.
	Origin() uint32
}
