// SPDX-License-Identifier: Apache-2.0

package reading

import (
	"math"
	"net/netip"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// Outcome is what came of reading a record.
type Outcome uint8

// The outcomes.
const (
	Read Outcome = iota
	// Ignored records are of other events.
	Ignored
	// WrongType: an attribute has another type than the receiver declares.
	WrongType
	// Invalid: a value is out of range, or no address.
	Invalid
	// Incomplete: an attribute without which there is nothing to judge is missing.
	Incomplete
	// Stopping: it came while the connector stopped.
	Stopping
	// Outcomes is their number.
	Outcomes
)

var outcomeNames = [Outcomes]string{"read", "other_event", "wrong_type", "invalid", "incomplete", "stopping"}

// String is the name in the internal metrics.
func (o Outcome) String() string { return outcomeNames[o] }

// Reader reads the records of one resource after the other.
type Reader struct {
	host     string
	hostHash uint64
	key      uint64
	decoders [Events]*decoder
}

// NewReader makes a reader. The key makes hashes of hosts unpredictable.
func NewReader(key uint64) *Reader {
	r := &Reader{key: key}
	for event := range r.decoders {
		r.decoders[event] = newDecoder(Event(event))
	}
	return r
}

// Resource says whose records follow.
func (r *Reader) Resource(attributes pcommon.Map) {
	r.host = ""
	if name, ok := attributes.Get(hostName); ok && name.Type() == pcommon.ValueTypeStr {
		r.host = name.Str()
	}
	r.hostHash = Hash(r.key, r.host)
}

// Hash of a string, the same after a restart if the key is.
func Hash(key uint64, text string) uint64 {
	const prime = 0x100000001b3
	h := 0xcbf29ce484222325 ^ key
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * prime
	}
	return Mix(h)
}

// Mix spreads the bits of a number.
func Mix(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

// Read fills a record.
func (r *Reader) Read(from plog.LogRecord, to *Record) Outcome {
	event := EventOf(from.EventName())
	if event == Unknown {
		return Ignored
	}
	*to = Record{Event: event, Host: r.host, HostHash: r.hostHash, Received: -1, Sent: -1, Duration: -1, RTT: -1}
	to.Service.Accept, to.Service.Open, to.Service.OpenAnswered = -1, -1, -1
	if event == HTTPRequest {
		to.Attributes = from.Attributes()
	}
	when := from.Timestamp()
	if when == 0 {
		when = from.ObservedTimestamp()
	}
	if when > math.MaxInt64 {
		return Invalid
	}
	to.Time = int64(when)
	if outcome := r.decoders[event].read(from.Attributes(), to); outcome != Read {
		return outcome
	}
	return to.complete()
}

// complete checks what every rule counts on.
func (r *Record) complete() Outcome {
	whole := r.Time > 0
	switch r.Event {
	case Source:
		whole = whole && (r.Prefix.IsValid() || r.Source.Rest > 0)
		if !r.Client.IsValid() && r.Prefix.IsValid() {
			r.Client = r.Prefix.Addr()
		}
	case Listener:
		whole = whole && r.Service.Interval > 0
	case HTTPRequest, TLSHandshake:
		whole = whole && r.Peer.IsValid() && r.Port != 0
		if !r.Client.IsValid() {
			r.Client = r.Peer
		}
	default:
		whole = whole && r.Client.IsValid() && r.Server.IsValid()
	}
	if !whole {
		return Incomplete
	}
	return Read
}

// most is the largest number: sums of such fit.
const most = 1 << 48

// Value readers: each takes one value, if it has the right type.

func integer(to *int64, v pcommon.Value) Outcome {
	if v.Type() != pcommon.ValueTypeInt {
		return WrongType
	}
	if *to = v.Int(); *to < 0 || *to > most {
		return Invalid
	}
	return Read
}

func unsigned(to *uint64, v pcommon.Value) Outcome {
	var n int64
	outcome := integer(&n, v)
	*to = uint64(n)
	return outcome
}

func port(to *uint16, v pcommon.Value) Outcome {
	var n int64
	if outcome := integer(&n, v); outcome != Read {
		return outcome
	}
	if n > math.MaxUint16 {
		return Invalid
	}
	*to = uint16(n)
	return Read
}

func double(to *float64, v pcommon.Value) Outcome {
	if v.Type() != pcommon.ValueTypeDouble {
		return WrongType
	}
	// So that not-a-number is invalid.
	if *to = v.Double(); !(*to >= 0 && *to <= 1e15) {
		return Invalid
	}
	return Read
}

func text(to *string, v pcommon.Value) Outcome {
	if v.Type() != pcommon.ValueTypeStr {
		return WrongType
	}
	*to = v.Str()
	return Read
}

func address(to *netip.Addr, v pcommon.Value) Outcome {
	if v.Type() != pcommon.ValueTypeStr {
		return WrongType
	}
	addr, err := netip.ParseAddr(v.Str())
	if err != nil || addr.Zone() != "" {
		return Invalid
	}
	*to = addr.Unmap()
	return Read
}

// failure takes the name of a failure. Newer receivers may have more of them.
func failure(to *Failure, v pcommon.Value) Outcome {
	if v.Type() != pcommon.ValueTypeStr {
		return WrongType
	}
	switch v.Str() {
	case "refused":
		*to = FailedRefused
	case "reset":
		*to = FailedReset
	case "handshake_timeout":
		*to = FailedTimeout
	case "accept_queue_overflow":
		*to = FailedByServer
	}
	return Read
}
