// SPDX-License-Identifier: Apache-2.0

// Package declared holds the names that metadata.yaml declares, for the packages that
// make log records and metrics.
package declared

// Event names, as metadata.yaml declares them.
const (
	EventOpen   = "tcp.server.connection.open"
	EventClose  = "tcp.server.connection.close"
	EventFailed = "tcp.server.connection.failed"
	EventPacket = "tcp.server.packet"
)

// Attribute keys of data points, some of them of records too.
const (
	KeyErrorType         = "error.type"
	KeyInterface         = "network.interface.name"
	KeyIODirection       = "network.io.direction"
	KeyNetworkType       = "network.type"
	KeyOverflow          = "otel.metric.overflow"
	KeyExecutable        = "process.executable.name"
	KeyServerPort        = "server.port"
	KeyDropReason        = "tcp.drop.reason"
	KeyMalformed         = "tcp.malformed.kind"
	KeyNetNS             = "tcp.netns.inode"
	KeyPacketClass       = "tcp.packet.class"
	KeyFlags             = "tcp.flags"
	KeyOptions           = "tcp.options"
	KeyResetSide         = "tcp.reset.side"
	KeyRetransmitType    = "tcp.retransmit.type"
	TransportTCP         = "tcp"
	TypeIPv4             = "ipv4"
	TypeIPv6             = "ipv6"
	DirectionReceive     = "receive"
	DirectionTransmit    = "transmit"
	ErrorOther           = "_OTHER"
	DropReasonUnknown    = "unknown"
	RetransmittedSegment = "segment"
	RetransmittedSYNACK  = "syn_ack"
	ResetByClient        = "client"
	ResetByServer        = "server"
)

// NetworkType is the value of network.type.
func NetworkType(ipv4 bool) string {
	if ipv4 {
		return TypeIPv4
	}
	return TypeIPv6
}

// IODirection is the value of network.io.direction.
func IODirection(egress bool) string {
	if egress {
		return DirectionTransmit
	}
	return DirectionReceive
}
