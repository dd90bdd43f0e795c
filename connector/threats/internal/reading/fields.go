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
	// count is where a count of a source goes, and as what a vector knows it; nil for others.
	count func(*SourceCounts) *int64
	as    vector.Count
}

func read(name, kind string, set setter) field { return field{name: name, kind: kind, set: set} }

// counted is a count of a source.
func counted(name string, as vector.Count, count func(*SourceCounts) *int64) field {
	return field{name: name, kind: "int", count: count, as: as, set: func(r *Record, v pcommon.Value) Outcome {
		return r.Source.count(count(&r.Source), as, v)
	}}
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
		read(clientAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Client, v) }),
		read(serverAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Server, v) }),
		read(serverPort, "int", func(r *Record, v pcommon.Value) Outcome { return port(&r.Port, v) }),
		read(executableName, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.Process, v) }),
		read(netnsInode, "int", func(r *Record, v pcommon.Value) Outcome { return unsigned(&r.NetNS, v) }),
		read(errorType, "string", func(r *Record, v pcommon.Value) Outcome { return failure(&r.Failure, v) }),
		read(receiveSize, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Received, v) }),
		read(connectionDuration, "double", func(r *Record, v pcommon.Value) Outcome { return double(&r.Duration, v) }),
		read(transmitSize, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Sent, v) }),
		read(rttSmoothed, "double", func(r *Record, v pcommon.Value) Outcome { return double(&r.RTT, v) }),
		read(closeReason, "string", func(r *Record, v pcommon.Value) Outcome { return closed(&r.ClientReset, v) }),
	}
}

// requestFields: the client is that of the application, the other three are the socket's.
func requestFields() []field {
	return []field{
		read(clientAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Client, v) }),
		read(peerAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Peer, v) }),
		read(localAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Server, v) }),
		read(localPort, "int", func(r *Record, v pcommon.Value) Outcome { return port(&r.Port, v) }),
		read(executableName, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.Process, v) }),
		read(netnsInode, "int", func(r *Record, v pcommon.Value) Outcome { return unsigned(&r.NetNS, v) }),
		read(statusCode, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Status, v) }),
		read(urlPath, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.Path, v) }),
		read(userID, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.UserID, v) }),
		read(userName, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.UserName, v) }),
	}
}

func handshakeFields() []field {
	return []field{
		read(clientAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Client, v) }),
		read(peerAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Peer, v) }),
		read(localAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Server, v) }),
		read(localPort, "int", func(r *Record, v pcommon.Value) Outcome { return port(&r.Port, v) }),
		read(executableName, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.Process, v) }),
		read(netnsInode, "int", func(r *Record, v pcommon.Value) Outcome { return unsigned(&r.NetNS, v) }),
		read(clientJA3, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.JA3, v) }),
		read(clientJA4, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.JA4, v) }),
	}
}

func sourceFields() []field {
	return []field{
		read(clientAddress, "string", client),
		read(sourcePrefix, "string", prefix),
		read(netnsInode, "int", func(r *Record, v pcommon.Value) Outcome { return unsigned(&r.NetNS, v) }),
		counted(sourceSynListening, vector.SYNListening, func(c *SourceCounts) *int64 { return &c.SynListening }),
		counted(sourceSynClosed, vector.SYNClosed, func(c *SourceCounts) *int64 { return &c.SynClosed }),
		counted(sourceNull, vector.FlagsNull, func(c *SourceCounts) *int64 { return &c.Null }),
		counted(sourceFin, vector.FlagsFIN, func(c *SourceCounts) *int64 { return &c.Fin }),
		counted(sourceXmas, vector.FlagsXmas, func(c *SourceCounts) *int64 { return &c.Xmas }),
		counted(sourceSynFin, vector.FlagsSYNFIN, func(c *SourceCounts) *int64 { return &c.SynFin }),
		counted(sourceSynRst, vector.FlagsSYNRST, func(c *SourceCounts) *int64 { return &c.SynRst }),
		counted(sourceMalformed, vector.Malformed, func(c *SourceCounts) *int64 { return &c.Malformed }),
		counted(sourcePortZero, vector.PortZero, func(c *SourceCounts) *int64 { return &c.PortZero }),
		counted(sourceLand, vector.Land, func(c *SourceCounts) *int64 { return &c.Land }),
		counted(sourceResetOther, vector.ResetOther, func(c *SourceCounts) *int64 { return &c.ResetOther }),
		counted(sourceCompleted, vector.Completed, func(c *SourceCounts) *int64 { return &c.Completed }),
		counted(sourcePorts, vector.Ports, func(c *SourceCounts) *int64 { return &c.Ports }),
		counted(sourcePortsFailed, vector.PortsFailed, func(c *SourceCounts) *int64 { return &c.PortsFailed }),
		counted(sourcePortsStray, vector.PortsStray, func(c *SourceCounts) *int64 { return &c.PortStray }),
		read(sourceReceiveRate, "double", func(r *Record, v pcommon.Value) Outcome { return r.Source.rate(v) }),
		read(sourceSilentPort, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Source.SilentPort, v) }),
		read(sourceSilentOpen, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Source.SilentOpen, v) }),
		read(sourceRest, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Source.Rest, v) }),
		counted(sourceResetSyn, vector.ResetSYN, func(c *SourceCounts) *int64 { return &c.ResetSyn }),
		counted(sourceResetSynAck, vector.ResetSYNACK, func(c *SourceCounts) *int64 { return &c.ResetSynAck }),
		counted(sourceResetFlags, vector.ResetFlags, func(c *SourceCounts) *int64 { return &c.ResetFlags }),
		counted(sourceHalfOpenReset, vector.HalfOpenReset, func(c *SourceCounts) *int64 { return &c.HalfOpenReset }),
		counted(sourceHalfOpenTimeout, vector.HalfOpenTimeout, func(c *SourceCounts) *int64 { return &c.HalfOpenTimeout }),
		counted(sourceClosed, vector.ClosedCount, func(c *SourceCounts) *int64 { return &c.Closed }),
		counted(sourceUnanswered, vector.Unanswered, func(c *SourceCounts) *int64 { return &c.Unanswered }),
		counted(sourceOpen, vector.Open, func(c *SourceCounts) *int64 { return &c.Open }),
		counted(sourceOpenSilent, vector.OpenSilent, func(c *SourceCounts) *int64 { return &c.OpenSilent }),
	}
}

func listenerFields() []field {
	return []field{
		read(serverAddress, "string", func(r *Record, v pcommon.Value) Outcome { return address(&r.Server, v) }),
		read(serverPort, "int", func(r *Record, v pcommon.Value) Outcome { return port(&r.Port, v) }),
		read(executableName, "string", func(r *Record, v pcommon.Value) Outcome { return text(&r.Process, v) }),
		read(netnsInode, "int", func(r *Record, v pcommon.Value) Outcome { return unsigned(&r.NetNS, v) }),
		read(listenerInterval, "double", func(r *Record, v pcommon.Value) Outcome { return double(&r.Service.Interval, v) }),
		read(listenerSyn, "int", func(r *Record, v pcommon.Value) Outcome {
			r.Service.HasSyn = true
			return integer(&r.Service.Syn, v)
		}),
		read(listenerCompleted, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.Completed, v) }),
		read(listenerOverflow, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.Overflow, v) }),
		read(listenerQueueLength, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.QueueLength, v) }),
		read(listenerQueueLimit, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.QueueLimit, v) }),
		read(listenerAccept, "double", func(r *Record, v pcommon.Value) Outcome { return double(&r.Service.Accept, v) }),
		read(listenerOpen, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.Open, v) }),
		read(listenerOpenAnswered, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.OpenAnswered, v) }),
		read(listenerClosed, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.Closed, v) }),
		read(listenerClosedAnswered, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.ClosedAnswered, v) }),
		read(namespaceCookies, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.Cookies, v) }),
		read(namespaceQueueFullCookies, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.QueueFullCookies, v) }),
		read(namespaceQueueFullDrops, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.QueueFullDrops, v) }),
		read(namespaceOverflows, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.NamespaceOverflows, v) }),
		read(namespaceEmbryonicResets, "int", func(r *Record, v pcommon.Value) Outcome { return integer(&r.Service.EmbryonicResets, v) }),
	}
}

// client takes the address of a source, and notes its text.
func client(r *Record, v pcommon.Value) Outcome {
	outcome := address(&r.Client, v)
	if outcome == Read {
		r.clientText = v.Str()
	}
	return outcome
}

// single is what follows an IPv4 address that is a source by itself.
const single = "/32"

// prefix takes the key of a source. That of IPv4 is mostly the address that was just read.
func prefix(r *Record, v pcommon.Value) Outcome {
	if v.Type() != pcommon.ValueTypeStr {
		return WrongType
	}
	text := v.Str()
	if r.clientText != "" && len(text) == len(r.clientText)+len(single) && text[len(r.clientText):] == single &&
		text[:len(r.clientText)] == r.clientText && r.Client.Is4() {
		r.Prefix = netip.PrefixFrom(r.Client, r.Client.BitLen())
		return Read
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return Invalid
	}
	r.Prefix = p.Masked()
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
	fields map[string]field
	order  []expected
	// into is the record that order points into.
	into    *Record
	learned int
}

type expected struct {
	name string
	// set is nil for attributes that are not read. Those with a count need no call.
	set   setter
	count *int64
	known uint32
	of    field
}

func newDecoder(event Event) *decoder {
	d := &decoder{fields: map[string]field{}}
	for _, f := range fieldsOf(event) {
		d.fields[f.name] = f
	}
	return d
}

func (d *decoder) read(from pcommon.Map, to *Record) Outcome {
	if d.into != to {
		d.point(to)
	}
	next, surprises := 0, 0
	for name, value := range from.All() {
		var set setter
		if next < len(d.order) && d.order[next].name == name {
			e := &d.order[next]
			next++
			if e.count != nil && value.Type() == pcommon.ValueTypeInt {
				n := value.Int()
				if n < 0 || n > most {
					return Invalid
				}
				*e.count = n
				to.Source.known |= e.known
				continue
			}
			set = e.set
		} else if ahead := d.ahead(next, name); ahead >= 0 {
			set, next = d.order[ahead].set, ahead+1
		} else {
			set = d.fields[name].set
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
			of := d.fields[name]
			d.order = append(d.order, expected{name: name, set: of.set, of: of})
		}
	}
	d.point(d.into)
}

// point finds where counts go. Records are read into the same one, one after the other.
func (d *decoder) point(into *Record) {
	d.into = into
	for i := range d.order {
		if e := &d.order[i]; e.of.count != nil {
			e.count, e.known = e.of.count(&into.Source), 1<<e.of.as
		}
	}
}
