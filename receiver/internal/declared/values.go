// SPDX-License-Identifier: Apache-2.0

package declared

// Values of attributes that log records and data points share, or that only data points have.
const (
	TransportTCP         = "tcp"
	ProtocolHTTP         = "http"
	TypeIPv4             = "ipv4"
	TypeIPv6             = "ipv6"
	DirectionReceive     = "receive"
	DirectionTransmit    = "transmit"
	ErrorOther           = "_OTHER"
	RetransmittedSegment = "segment"
	RetransmittedSYNACK  = "syn_ack"
	ResetByClient        = "client"
	ResetByServer        = "server"
	SYNQueueCookie       = "cookie"
	SYNQueueDrop         = "drop"
	NetworkOther         = "other"
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
