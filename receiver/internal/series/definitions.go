// SPDX-License-Identifier: Apache-2.0

package series

import "github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"

// metric is one of the metrics that metadata.yaml declares.
type metric uint8

const (
	metricForwarded metric = iota
	metricAccept
	metricAcceptQueueLength
	metricAcceptQueueLimit
	metricAcceptQueueOverflows
	metricActive
	metricDuration
	metricFailed
	metricOpened
	metricDrops
	metricFragments
	metricHandshake
	metricIO
	metricMalformed
	metricPacketIO
	metricPackets
	metricResets
	metricRetransmits
	metricRTT
	metricSYNQueueLength
	metrics
)

// definition is what a metric's declaration says; a test compares the two.
type definition struct {
	name, description, unit string
	kind                    kind
}

type kind uint8

const (
	counter kind = iota
	upDownCounter
	histogram
)

var definitions = [metrics]definition{
	metricForwarded: {
		"tcp.forwarded.packets",
		"Packets to or from a port that has a listener, of an address that is not this host's.",
		"{packet}", counter,
	},
	metricAccept: {
		"tcp.server.accept.duration",
		"Time that connections waited in the accept queue, where accept was seen, taken at close.",
		"s", histogram,
	},
	metricAcceptQueueLength: {
		"tcp.server.accept_queue.length",
		"Connections that are established and wait for accept(), of all listeners of the port.",
		"{connection}", upDownCounter,
	},
	metricAcceptQueueLimit: {
		"tcp.server.accept_queue.limit",
		"Connections that may wait for accept(), the least of listen()'s backlog and net.core.somaxconn; the kernel lets in one more.",
		"{connection}", upDownCounter,
	},
	metricAcceptQueueOverflows: {
		"tcp.server.accept_queue.overflows",
		"SYNs, and ACKs that would have ended a handshake, that a full accept queue turned away; a client that tries again counts again. Without server.port where the kernel counts per network namespace only and several listeners may be the one.",
		"{segment}", counter,
	},
	metricActive: {
		"tcp.server.connection.active",
		"Inbound connections that are open.",
		"{connection}", upDownCounter,
	},
	metricDuration: {
		"tcp.server.connection.duration",
		"Time from established to closed.",
		"s", histogram,
	},
	metricFailed: {
		"tcp.server.connection.failed",
		"Attempts to connect that did not become a connection.",
		"{attempt}", counter,
	},
	metricOpened: {
		"tcp.server.connection.opened",
		"Inbound connections that were established, counted when they open, by the process that listens.",
		"{connection}", counter,
	},
	metricDrops: {
		"tcp.server.drops",
		"Inbound packets that the kernel dropped, ordinary ends of connections excluded.",
		"{packet}", counter,
	},
	metricFragments: {
		"tcp.server.fragments",
		"IP fragments other than the first, which carry no ports.",
		"{packet}", counter,
	},
	metricHandshake: {
		"tcp.server.handshake.duration",
		"Time from the first SYN-ACK, which answers the SYN at once, to the ACK; one observation per connection, at close.",
		"s", histogram,
	},
	metricIO: {
		"tcp.server.io",
		"Payload of inbound connections, each byte once.",
		"By", counter,
	},
	metricMalformed: {
		"tcp.server.malformed",
		"Packets with impossible headers, whatever their destination.",
		"{packet}", counter,
	},
	metricPacketIO: {
		"tcp.server.packet.io",
		"Bytes of server-side packets as the interface sees them.",
		"By", counter,
	},
	metricPackets: {
		"tcp.server.packets",
		"Server-side packets, a super-packet counted as its segments.",
		"{packet}", counter,
	},
	metricResets: {
		"tcp.server.resets",
		"Resets sent by and received from clients.",
		"{reset}", counter,
	},
	metricRetransmits: {
		"tcp.server.retransmits",
		"Segments and SYN-ACKs that were sent again.",
		"{segment}", counter,
	},
	metricRTT: {
		"tcp.server.rtt",
		"Smoothed round-trip time, one observation per connection, at close.",
		"s", histogram,
	},
	metricSYNQueueLength: {
		"tcp.server.syn_queue.length",
		"Handshakes in progress, those answered by SYN cookies left out; the limit is tcp.server.accept_queue.limit.",
		"{request}", upDownCounter,
	},
}

func enabled(c *metadata.MetricsConfig) [metrics]bool {
	return [metrics]bool{
		metricForwarded:            c.TCPForwardedPackets.Enabled,
		metricAccept:               c.TCPServerAcceptDuration.Enabled,
		metricAcceptQueueLength:    c.TCPServerAcceptQueueLength.Enabled,
		metricAcceptQueueLimit:     c.TCPServerAcceptQueueLimit.Enabled,
		metricAcceptQueueOverflows: c.TCPServerAcceptQueueOverflows.Enabled,
		metricActive:               c.TCPServerConnectionActive.Enabled,
		metricDuration:             c.TCPServerConnectionDuration.Enabled,
		metricFailed:               c.TCPServerConnectionFailed.Enabled,
		metricOpened:               c.TCPServerConnectionOpened.Enabled,
		metricDrops:                c.TCPServerDrops.Enabled,
		metricFragments:            c.TCPServerFragments.Enabled,
		metricIO:                   c.TCPServerIo.Enabled,
		metricMalformed:            c.TCPServerMalformed.Enabled,
		metricPacketIO:             c.TCPServerPacketIo.Enabled,
		metricPackets:              c.TCPServerPackets.Enabled,
		metricResets:               c.TCPServerResets.Enabled,
		metricRetransmits:          c.TCPServerRetransmits.Enabled,
		metricRTT:                  c.TCPServerRtt.Enabled,
		metricSYNQueueLength:       c.TCPServerSynQueueLength.Enabled,
		metricHandshake:            c.TCPServerHandshakeDuration.Enabled,
	}
}
