// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"math"
	"math/bits"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// attribute is one that log records may have. Records have theirs in this order.
type attribute uint8

const (
	attrClientAddress attribute = iota
	attrClientPort
	attrServerAddress
	attrServerPort
	attrNetworkType
	attrTransport
	attrInterface
	attrPID
	attrExecutable
	attrOwnerSource
	attrIODirection
	attrConnectionID
	attrNetNS
	attrHandshakeDuration
	attrHandshakeRTT
	attrAdopted
	attrMPTCP
	attrReceivedSize
	attrTransmitSize
	attrReceivedSegments
	attrTransmitSegments
	attrRetransmits
	attrOutOfOrder
	attrSmoothedRTT
	attrMinRTT
	attrDuration
	attrAcceptDuration
	attrCloseReason
	attrErrorType
	attrSequence
	attrAcknowledgment
	attrWindow
	attrPacketSize
	attrPayloadSize
	attrMalformed
	attributes
)

// row has a bit for each attribute: a 65th does not compile.
const _ = uint(64 - attributes)

// attributeKeys are their names, as metadata.yaml declares them.
var attributeKeys = [attributes]string{
	attrClientAddress:     "client.address",
	attrClientPort:        "client.port",
	attrServerAddress:     "server.address",
	attrServerPort:        declared.KeyServerPort,
	attrNetworkType:       declared.KeyNetworkType,
	attrTransport:         "network.transport",
	attrInterface:         declared.KeyInterface,
	attrPID:               "process.pid",
	attrExecutable:        declared.KeyExecutable,
	attrOwnerSource:       "tcp.owner.source",
	attrIODirection:       declared.KeyIODirection,
	attrConnectionID:      "tcp.connection.id",
	attrNetNS:             declared.KeyNetNS,
	attrHandshakeDuration: "tcp.handshake.duration",
	attrHandshakeRTT:      "tcp.handshake.rtt",
	attrAdopted:           "tcp.connection.adopted",
	attrMPTCP:             "tcp.connection.mptcp",
	attrReceivedSize:      "tcp.receive.size",
	attrTransmitSize:      "tcp.transmit.size",
	attrReceivedSegments:  "tcp.receive.segment.count",
	attrTransmitSegments:  "tcp.transmit.segment.count",
	attrRetransmits:       "tcp.retransmit.count",
	attrOutOfOrder:        "tcp.out_of_order.count",
	attrSmoothedRTT:       "tcp.rtt.smoothed",
	attrMinRTT:            "tcp.rtt.min",
	attrDuration:          "tcp.connection.duration",
	attrAcceptDuration:    "tcp.accept.duration",
	attrCloseReason:       "tcp.close.reason",
	attrErrorType:         declared.KeyErrorType,
	attrSequence:          "tcp.sequence",
	attrAcknowledgment:    "tcp.acknowledgment",
	attrWindow:            "tcp.window",
	attrPacketSize:        "tcp.packet.size",
	attrPayloadSize:       "tcp.packet.payload.size",
	attrMalformed:         declared.KeyMalformed,
}

// row gathers the attributes of one record before they are written. Every Put of
// pcommon.Map compares its key with those that are there, 300 comparisons for a close
// record, and moves key and value together, which is dear while garbage is collected. A
// copy of a map does neither: so the keys are copied from a layout, and the values filled
// in. BenchmarkPath/logs: 1.25 times the bare build with Puts, 1.12 times with this.
type row struct {
	// present has a bit for each attribute that the record has.
	present uint64
	values  [attributes]value
	// layouts are keys without values, by what is present.
	layouts map[uint64]pcommon.Map
}

// maxLayouts bounds the layouts, for each optional attribute comes and goes by itself.
// Few combinations occur; where more do, the layouts are made anew.
const maxLayouts = 256

// value is a string, or the bits of a number.
type value struct {
	kind   pcommon.ValueType
	text   string
	number uint64
}

func (r *row) str(a attribute, text string) {
	r.present |= 1 << a
	v := &r.values[a]
	v.kind, v.text = pcommon.ValueTypeStr, text
}

func (r *row) int(a attribute, n int64) { r.put(a, pcommon.ValueTypeInt, uint64(n)) }

func (r *row) double(a attribute, n float64) { r.put(a, pcommon.ValueTypeDouble, math.Float64bits(n)) }

func (r *row) yes(a attribute) { r.put(a, pcommon.ValueTypeBool, 1) }

func (r *row) put(a attribute, kind pcommon.ValueType, number uint64) {
	r.present |= 1 << a
	v := &r.values[a]
	v.kind, v.number = kind, number
}

// len is the number of attributes gathered.
func (r *row) len() int { return bits.OnesCount64(r.present) }

// write fills an empty map and begins a new row.
func (r *row) write(to pcommon.Map) {
	r.layout().CopyTo(to)
	rest := r.present
	for _, v := range to.All() {
		r.values[bits.TrailingZeros64(rest)].write(v)
		rest &= rest - 1
	}
	r.present = 0
}

func (v *value) write(to pcommon.Value) {
	switch v.kind {
	case pcommon.ValueTypeStr:
		to.SetStr(v.text)
	case pcommon.ValueTypeInt:
		to.SetInt(int64(v.number))
	case pcommon.ValueTypeDouble:
		to.SetDouble(math.Float64frombits(v.number))
	case pcommon.ValueTypeBool:
		to.SetBool(v.number != 0)
	}
}

func (r *row) layout() pcommon.Map {
	if known, ok := r.layouts[r.present]; ok {
		return known
	}
	if r.layouts == nil || len(r.layouts) >= maxLayouts {
		r.layouts = make(map[uint64]pcommon.Map)
	}
	layout := pcommon.NewMap()
	layout.EnsureCapacity(r.len())
	for rest := r.present; rest != 0; rest &= rest - 1 {
		layout.PutEmpty(attributeKeys[bits.TrailingZeros64(rest)])
	}
	r.layouts[r.present] = layout
	return layout
}
