// SPDX-License-Identifier: Apache-2.0

package emit

import "github.com/ebpftcp/ebpftcpreceiver/internal/ledger"

// Event names, as metadata.yaml declares them.
const (
	eventOpen   = "tcp.server.connection.open"
	eventClose  = "tcp.server.connection.close"
	eventFailed = "tcp.server.connection.failed"
	eventPacket = "tcp.server.packet"
)

// Attribute keys of records and data points.
const (
	keyClientAddress     = "client.address"
	keyClientPort        = "client.port"
	keyErrorType         = "error.type"
	keyInterface         = "network.interface.name"
	keyIODirection       = "network.io.direction"
	keyTransport         = "network.transport"
	keyNetworkType       = "network.type"
	keyOverflow          = "otel.metric.overflow"
	keyExecutable        = "process.executable.name"
	keyPID               = "process.pid"
	keyServerAddress     = "server.address"
	keyServerPort        = "server.port"
	keyAcceptDuration    = "tcp.accept.duration"
	keyAcknowledgment    = "tcp.acknowledgment"
	keyCloseReason       = "tcp.close.reason"
	keyAdopted           = "tcp.connection.adopted"
	keyDuration          = "tcp.connection.duration"
	keyConnectionID      = "tcp.connection.id"
	keyMPTCP             = "tcp.connection.mptcp"
	keyDropReason        = "tcp.drop.reason"
	keyFlags             = "tcp.flags"
	keyHandshakeDuration = "tcp.handshake.duration"
	keyHandshakeRTT      = "tcp.handshake.rtt"
	keyMalformed         = "tcp.malformed.kind"
	keyNetNS             = "tcp.netns.inode"
	keyOptions           = "tcp.options"
	keyOutOfOrder        = "tcp.out_of_order.count"
	keyOwnerSource       = "tcp.owner.source"
	keyPacketClass       = "tcp.packet.class"
	keyPayloadSize       = "tcp.packet.payload.size"
	keyPacketSize        = "tcp.packet.size"
	keyReceivedSegments  = "tcp.receive.segment.count"
	keyReceivedSize      = "tcp.receive.size"
	keyResetSide         = "tcp.reset.side"
	keyRetransmits       = "tcp.retransmit.count"
	keyRetransmitType    = "tcp.retransmit.type"
	keyMinRTT            = "tcp.rtt.min"
	keySmoothedRTT       = "tcp.rtt.smoothed"
	keySequence          = "tcp.sequence"
	keyTransmitSegments  = "tcp.transmit.segment.count"
	keyTransmitSize      = "tcp.transmit.size"
	keyWindow            = "tcp.window"
	transportTCP         = "tcp"
	typeIPv4             = "ipv4"
	typeIPv6             = "ipv6"
	directionReceive     = "receive"
	directionTransmit    = "transmit"
	errorOther           = "_OTHER"
	dropReasonUnknown    = "unknown"
	retransmittedSegment = "segment"
	retransmittedSYNACK  = "syn_ack"
	resetByClient        = "client"
	resetByServer        = "server"
)

// EventOf is the account of the event that records of a name tell of; false when no
// event has that name.
func EventOf(name string) (ledger.Event, bool) {
	switch name {
	case eventClose:
		return ledger.Connection, true
	case eventOpen:
		return ledger.Open, true
	case eventFailed:
		return ledger.Failed, true
	case eventPacket:
		return ledger.Packet, true
	default:
		return 0, false
	}
}

func networkType(ipv4 bool) string {
	if ipv4 {
		return typeIPv4
	}
	return typeIPv6
}

func ioDirection(egress bool) string {
	if egress {
		return directionTransmit
	}
	return directionReceive
}
