// SPDX-License-Identifier: Apache-2.0

// Package reading takes from log records of the ebpf_tcp receiver what the rules need. It passes
// over the attributes once, and allocates nothing.
package reading

import (
	"net/netip"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Record is one log record. Its strings belong to the log record and must be cloned to be kept.
type Record struct {
	Event Event
	// Time is the record's time in nanoseconds since 1970.
	Time int64
	// Host is the resource's host.name.
	Host string
	// HostHash tells hosts apart.
	HostHash uint64
	NetNS    uint64

	// Client is who it is about. Behind a trusted proxy, Peer is that proxy.
	Client, Peer netip.Addr
	Server       netip.Addr
	// clientText is that of the client's address, if it is a source.
	clientText string
	Port       uint16
	Process    string

	// Failure is why a connection attempt failed.
	Failure Failure
	// Received is -1 if unknown.
	Received int64
	// Duration of a connection, in seconds; negative if unknown.
	Duration float64
	// Sent and RTT, in seconds, are negative if unknown.
	Sent        int64
	RTT         float64
	ClientReset bool

	// Status is 0 without an answer.
	Status           int64
	Path             string
	UserID, UserName string
	// Attributes are all of a request, for what only some rules ask for.
	Attributes pcommon.Map

	JA3, JA4 string

	// Prefix is the key of a source; invalid in the record of the rest.
	Prefix  netip.Prefix
	Source  SourceCounts
	Service ServiceCounts
}

// Failure is why an attempt to connect failed.
type Failure uint8

// The failures. FailedByServer are those that the client has no part in.
const (
	FailedOther Failure = iota
	FailedRefused
	FailedReset
	FailedTimeout
	FailedByServer
)

// SourceCounts are those of tcp.server.source: of one interval, except those of ports, which are
// of the whole life of the receiver's entry.
type SourceCounts struct {
	SynListening, SynClosed       int64
	Null, Fin, Xmas               int64
	SynFin, SynRst                int64
	Malformed, PortZero, Land     int64
	ResetOther, Completed         int64
	ResetSyn, ResetSynAck         int64
	ResetFlags                    int64
	HalfOpenReset                 int64
	HalfOpenTimeout               int64
	Closed, Unanswered            int64
	Open, OpenSilent              int64
	Ports, PortsFailed, PortStray int64
	// ReceiveRate is in bytes per second.
	ReceiveRate float64
	// SilentOpen are connections to SilentPort, open for more than 10 s, that have received bytes,
	// and to which the server has sent nothing.
	SilentPort, SilentOpen int64
	// Rest is the number of sources of the record of the rest.
	Rest int64
	// known has a bit for each vector.Count that the record has.
	known uint32
}

// Impossible is the number of segments with flags that no segment of a connection has.
func (c *SourceCounts) Impossible() int64 {
	return c.Null + c.Fin + c.Xmas + c.SynFin + c.SynRst
}

// ServiceCounts are those of tcp.server.listener: of a listener, or of its namespace if
// Record.Port is 0.
type ServiceCounts struct {
	// Interval is in seconds.
	Interval float64
	// HasSyn tells whether the record has Syn.
	HasSyn                   bool
	Syn, Completed, Overflow int64
	QueueLength, QueueLimit  int64
	// Open is negative if unknown, and OpenAnswered too.
	Open, OpenAnswered                  int64
	Closed, ClosedAnswered              int64
	Cookies                             int64
	QueueFullCookies, QueueFullDrops    int64
	NamespaceOverflows, EmbryonicResets int64
	// Accept is the median time in the accept queue, in seconds; negative if unknown.
	Accept float64
}
