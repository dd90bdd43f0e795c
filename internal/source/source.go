// SPDX-License-Identifier: Apache-2.0

// Package source has the domain of the facts per source and per service: what a client did to
// this host within an interval, whether or not it ever had a connection, and how a listener and
// its network namespace fared meanwhile.
package source

import (
	"net/netip"
	"time"
)

// Count is a kind of what a source did.
type Count uint8

// Values match enum source_count in bpf/lib/values.h.
const (
	// SYNListening and SYNClosed are SYNs to ports that listen, and to others.
	SYNListening Count = iota
	SYNClosed
	// FlagsNull to FlagsSYNRST are segments with flags that no stack sends.
	FlagsNull
	FlagsFIN
	FlagsXmas
	FlagsSYNFIN
	FlagsSYNRST
	// Malformed are segments with other faults in their headers.
	Malformed
	PortZero
	// Land are segments that pretend to come from where they go.
	Land
	// ResetSYN to ResetOther are segments of no connection that the host answered with a reset.
	ResetSYN
	ResetSYNACK
	ResetFlags
	ResetOther
	// Completed are connections that were established.
	Completed
	HalfOpenReset
	HalfOpenTimeout
	// Closed are connections that ended, Unanswered those without an acknowledged byte of the server.
	Closed
	Unanswered
	Counts
)

// Kinds is a set of counts.
type Kinds uint32

// With returns the set with some more.
func (k Kinds) With(more ...Count) Kinds {
	for _, c := range more {
		k |= 1 << c
	}
	return k
}

// Has reports whether a count is in the set.
func (k Kinds) Has(c Count) bool { return k&(1<<c) != 0 }

// Source is what one source did within an interval, or several sources together.
type Source struct {
	// Time is Unix nanoseconds, the end of the interval.
	Time     int64
	Interval time.Duration
	NetNS    uint32
	IPv4     bool
	// Rest is how many sources the record sums up; 0 if it is about one. Then the members down
	// to Counts are set.
	Rest   int64
	Client netip.Addr
	// Prefix is what the counts belong to.
	Prefix netip.Prefix
	// Age is how long the source has been followed.
	Age time.Duration
	// Ports is nil if the source is not followed. Only its open connections are known then.
	Ports *Ports
	// Live is nil if open connections were not read in this interval.
	Live *Live

	Counts [Counts]uint64
	// Absent are counts that no hook can tell.
	Absent Kinds
}

// Ports estimates how many distinct local ports a source has used since it was followed.
type Ports struct {
	All, Failed, Stray int
}

// Live is about the open connections of a source.
type Live struct {
	Open int64
	// Unread is set if sockets could not be asked. Then only Open is known.
	Unread bool
	// Silent are older than SilentAge, and the client has acknowledged no byte of the server.
	Silent int64
	// Port is the local port with most silent connections that have received bytes, if there is
	// any: PortSilent.
	Port       uint16
	PortSilent int64
	// ReceiveRate is in bytes per second since the look before; negative if there was none.
	ReceiveRate float64
}

// SilentAge is from which age on a connection to which the server has sent nothing is silent.
const SilentAge = 10 * time.Second

// Service is how a listener fared within an interval. Pointers are nil for what was not read.
type Service struct {
	// Time is Unix nanoseconds, the end of the interval.
	Time     int64
	Interval time.Duration
	NetNS    uint32
	// Address is unspecified if the listener accepts every address.
	Address netip.AddrPort
	// Socket is the connection.Listener's.
	Socket uint64

	SYNs, Completed, Overflows    *uint64
	AcceptQueue, AcceptQueueLimit *uint32
	// Accept is the median time in the accept queue; 0 if none was accepted.
	Accept                                     time.Duration
	Open, OpenAnswered, Closed, ClosedAnswered *uint64
}

// Namespace is what a network namespace counted within an interval.
type Namespace struct {
	// Time is Unix nanoseconds, the end of the interval.
	Time     int64
	Interval time.Duration
	NetNS    uint32
	// Counters are nil where the kernel does not have them.
	Counters [NamespaceCounters]*uint64
}

// NamespaceCounter is one of the kernel's counters of a network namespace.
type NamespaceCounter uint8

// The names are those of /proc/net/netstat.
const (
	SyncookiesSent NamespaceCounter = iota
	TCPReqQFullDoCookies
	TCPReqQFullDrop
	ListenOverflows
	EmbryonicRsts
	NamespaceCounters
)

func (c NamespaceCounter) String() string {
	return [...]string{"SyncookiesSent", "TCPReqQFullDoCookies", "TCPReqQFullDrop", "ListenOverflows", "EmbryonicRsts"}[c]
}
