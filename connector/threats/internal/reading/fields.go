// SPDX-License-Identifier: Apache-2.0

package reading

import (
	"net/netip"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

// setter takes the value of one attribute, if it has the right type.
type setter func(*Record, pcommon.Value) Outcome

// field is an attribute that is read, with the type that it must have.
type field struct {
	name, kind string
	set        setter
}

// fieldsOf are the attributes that are read of an event. The rules need no others.
func fieldsOf(event Event) []field {
	switch event {
	case ConnectionOpen, ConnectionClose, ConnectionFailed:
		return connectionFields()
	case HTTPRequest:
		return requestFields()
	case TLSHandshake:
		return handshakeFields()
	case Source:
		return sourceFields()
	case Listener:
		return listenerFields()
	}
	return nil
}

// Attributes are those that are read of an event, with the type that each must have.
func Attributes(event Event) map[string]string {
	read := map[string]string{}
	for _, f := range fieldsOf(event) {
		read[f.name] = f.kind
	}
	return read
}

func connectionFields() []field {
	return []field{
		{clientAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Client, v) }},
		{serverAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Server, v) }},
		{serverPort, "int", func(r *Record, v pcommon.Value) Outcome { return port(&r.Port, v) }},
		{executableName, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.Process, v) }},
		{netnsInode, "int", func(r *Record, v pcommon.Value) Outcome { return unsigned(&r.NetNS, v) }},
		{errorType, "string", func(r *Record, v pcommon.Value) Outcome { return failure(&r.Failure, v) }},
		{receiveSize, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Received, v) }},
		{connectionDuration, "double", func(r *Record, v pcommon.Value) Outcome { return double(&r.Duration, v) }},
		{transmitSize, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Sent, v) }},
		{rttSmoothed, "double", func(r *Record, v pcommon.Value) Outcome { return double(&r.RTT, v) }},
		{closeReason, "string", func(r *Record, v pcommon.Value) Outcome { return closed(&r.ClientReset, v) }},
	}
}

// requestFields: the client is that of the application, the other three are the socket's.
func requestFields() []field {
	return []field{
		{clientAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Client, v) }},
		{peerAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Peer, v) }},
		{localAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Server, v) }},
		{localPort, "int", func(r *Record, v pcommon.Value) Outcome { return port(&r.Port, v) }},
		{executableName, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.Process, v) }},
		{netnsInode, "int", func(r *Record, v pcommon.Value) Outcome { return unsigned(&r.NetNS, v) }},
		{statusCode, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Status, v) }},
		{urlPath, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.Path, v) }},
		{userID, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.UserID, v) }},
		{userName, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.UserName, v) }},
	}
}

func handshakeFields() []field {
	return []field{
		{clientAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Client, v) }},
		{peerAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Peer, v) }},
		{localAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Server, v) }},
		{localPort, "int", func(r *Record, v pcommon.Value) Outcome { return port(&r.Port, v) }},
		{executableName, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.Process, v) }},
		{netnsInode, "int", func(r *Record, v pcommon.Value) Outcome { return unsigned(&r.NetNS, v) }},
		{clientJA3, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.JA3, v) }},
		{clientJA4, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.JA4, v) }},
	}
}

func sourceFields() []field {
	return []field{
		{clientAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Client, v) }},
		{sourcePrefix, "string", func(r *Record, v pcommon.Value) Outcome { return prefix(&r.Prefix, v) }},
		{netnsInode, "int", func(r *Record, v pcommon.Value) Outcome { return unsigned(&r.NetNS, v) }},
		{sourceSynListening, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.SynListening, vector.SYNListening, v)
		}},
		{sourceSynClosed, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.SynClosed, vector.SYNClosed, v)
		}},
		{sourceNull, "int", func(r *Record, v pcommon.Value) Outcome { return r.Source.count(&r.Source.Null, vector.FlagsNull, v) }},
		{sourceFin, "int", func(r *Record, v pcommon.Value) Outcome { return r.Source.count(&r.Source.Fin, vector.FlagsFIN, v) }},
		{sourceXmas, "int", func(r *Record, v pcommon.Value) Outcome { return r.Source.count(&r.Source.Xmas, vector.FlagsXmas, v) }},
		{sourceSynFin, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.SynFin, vector.FlagsSYNFIN, v)
		}},
		{sourceSynRst, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.SynRst, vector.FlagsSYNRST, v)
		}},
		{sourceMalformed, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.Malformed, vector.Malformed, v)
		}},
		{sourcePortZero, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.PortZero, vector.PortZero, v)
		}},
		{sourceLand, "int", func(r *Record, v pcommon.Value) Outcome { return r.Source.count(&r.Source.Land, vector.Land, v) }},
		{sourceResetOther, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.ResetOther, vector.ResetOther, v)
		}},
		{sourceCompleted, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.Completed, vector.Completed, v)
		}},
		{sourcePorts, "int", func(r *Record, v pcommon.Value) Outcome { return r.Source.count(&r.Source.Ports, vector.Ports, v) }},
		{sourcePortsFailed, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.PortsFailed, vector.PortsFailed, v)
		}},
		{sourcePortsStray, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.PortStray, vector.PortsStray, v)
		}},
		{sourceReceiveRate, "double", func(r *Record, v pcommon.Value) Outcome { return r.Source.rate(v) }},
		{sourceSilentPort, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Source.SilentPort, v) }},
		{sourceSilentOpen, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Source.SilentOpen, v) }},
		{sourceRest, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Source.Rest, v) }},
		{sourceResetSyn, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.ResetSyn, vector.ResetSYN, v)
		}},
		{sourceResetSynAck, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.ResetSynAck, vector.ResetSYNACK, v)
		}},
		{sourceResetFlags, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.ResetFlags, vector.ResetFlags, v)
		}},
		{sourceHalfOpenReset, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.HalfOpenReset, vector.HalfOpenReset, v)
		}},
		{sourceHalfOpenTimeout, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.HalfOpenTimeout, vector.HalfOpenTimeout, v)
		}},
		{sourceClosed, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.Closed, vector.ClosedCount, v)
		}},
		{sourceUnanswered, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.Unanswered, vector.Unanswered, v)
		}},
		{sourceOpen, "int", func(r *Record, v pcommon.Value) Outcome { return r.Source.count(&r.Source.Open, vector.Open, v) }},
		{sourceOpenSilent, "int", func(r *Record, v pcommon.Value) Outcome {
			return r.Source.count(&r.Source.OpenSilent, vector.OpenSilent, v)
		}},
	}
}

func listenerFields() []field {
	return []field{
		{serverAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Server, v) }},
		{serverPort, "int", func(r *Record, v pcommon.Value) Outcome { return port(&r.Port, v) }},
		{executableName, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.Process, v) }},
		{netnsInode, "int", func(r *Record, v pcommon.Value) Outcome { return unsigned(&r.NetNS, v) }},
		{listenerInterval, "double", func(r *Record, v pcommon.Value) Outcome { return double(&r.Service.Interval, v) }},
		{listenerSyn, "int", func(r *Record, v pcommon.Value) Outcome {
			r.Service.HasSyn = true
			return integer(&r.Service.Syn, v)
		}},
		{listenerCompleted, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.Completed, v) }},
		{listenerOverflow, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.Overflow, v) }},
		{listenerQueueLength, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.QueueLength, v) }},
		{listenerQueueLimit, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.QueueLimit, v) }},
		{listenerAccept, "double", func(r *Record, v pcommon.Value) Outcome { return double(&r.Service.Accept, v) }},
		{listenerOpen, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.Open, v) }},
		{listenerOpenAnswered, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.OpenAnswered, v) }},
		{listenerClosed, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.Closed, v) }},
		{listenerClosedAnswered, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.ClosedAnswered, v) }},
		{namespaceCookies, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.Cookies, v) }},
		{namespaceQueueFullCookies, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.QueueFullCookies, v) }},
		{namespaceQueueFullDrops, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.QueueFullDrops, v) }},
		{namespaceOverflows, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.NamespaceOverflows, v) }},
		{namespaceEmbryonicResets, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.EmbryonicResets, v) }},
	}
}

func prefix(to *netip.Prefix, v pcommon.Value) Outcome {
	if v.Type() != pcommon.ValueTypeStr {
		return WrongType
	}
	p, err := netip.ParsePrefix(v.Str())
	if err != nil {
		return Invalid
	}
	*to = p.Masked()
	return Read
}

// Bounds of what is expected: attributes, the length of their names, how many may be missing in a
// row, and how often another order is learned, after so many surprises in one record.
const (
	maxOrder    = 160
	maxName     = 128
	maxMissing  = 4
	maxLearned  = 16
	maxSurprise = 4
)

// decoder reads the records of one event. A receiver writes attributes in one order, so each is
// expected where it was in an earlier record: that mostly takes one comparison. Others are looked
// up.
type decoder struct {
	fields  map[string]setter
	order   []expected
	learned int
}

type expected struct {
	name string
	// set is nil for attributes that are not read.
	set setter
}

func newDecoder(event Event) *decoder {
	d := &decoder{fields: map[string]setter{}}
	for _, f := range fieldsOf(event) {
		d.fields[f.name] = f.set
	}
	return d
}

func (d *decoder) read(from pcommon.Map, to *Record) Outcome {
	next, surprises := 0, 0
	for name, value := range from.All() {
		var set setter
		if next < len(d.order) && d.order[next].name == name {
			set = d.order[next].set
			next++
		} else if ahead := d.ahead(next, name); ahead >= 0 {
			set, next = d.order[ahead].set, ahead+1
		} else {
			set = d.fields[name]
			surprises++
		}
		if set == nil {
			continue
		}
		if outcome := set(to, value); outcome != Read {
			return outcome
		}
	}
	if surprises > maxSurprise && d.learned < maxLearned {
		d.learn(from)
	}
	return Read
}

// ahead finds an attribute behind some that are missing; -1 if it is not there.
func (d *decoder) ahead(next int, name string) int {
	for i := next + 1; i < len(d.order) && i <= next+maxMissing; i++ {
		if d.order[i].name == name {
			return i
		}
	}
	return -1
}

// learn expects the order of a record from now on.
func (d *decoder) learn(from pcommon.Map) {
	d.learned++
	d.order = d.order[:0]
	for name := range from.All() {
		if len(d.order) < maxOrder && len(name) <= maxName {
			// Not a copy: records of one receiver share their names, and what is the same string needs no
			// comparison of its bytes.
			d.order = append(d.order, expected{name, d.fields[name]})
		}
	}
}
