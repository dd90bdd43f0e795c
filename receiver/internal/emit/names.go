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

// Attribute keys of data points, some of them of records too; see attribute.
const (
	keyErrorType         = "error.type"
	keyInterface         = "network.interface.name"
	keyIODirection       = "network.io.direction"
	keyNetworkType       = "network.type"
	keyOverflow          = "otel.metric.overflow"
	keyExecutable        = "process.executable.name"
	keyServerPort        = "server.port"
	keyDropReason        = "tcp.drop.reason"
	keyMalformed         = "tcp.malformed.kind"
	keyNetNS             = "tcp.netns.inode"
	keyPacketClass       = "tcp.packet.class"
	keyFlags             = "tcp.flags"
	keyOptions           = "tcp.options"
	keyResetSide         = "tcp.reset.side"
	keyRetransmitType    = "tcp.retransmit.type"
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
