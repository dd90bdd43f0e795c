// SPDX-License-Identifier: Apache-2.0

package reading

// Event is a kind of log record of the ebpf_tcp receiver.
type Event uint8

// The events that are read.
const (
	Unknown Event = iota
	ConnectionOpen
	ConnectionClose
	ConnectionFailed
	Source
	Listener
	HTTPRequest
	TLSHandshake
	// Events is their number.
	Events
)

var eventNames = [Events]string{
	Unknown:          "other",
	ConnectionOpen:   "tcp.server.connection.open",
	ConnectionClose:  "tcp.server.connection.close",
	ConnectionFailed: "tcp.server.connection.failed",
	Source:           "tcp.server.source",
	Listener:         "tcp.server.listener",
	HTTPRequest:      "tcp.server.http.request",
	TLSHandshake:     "tcp.server.tls.handshake",
}

// String is the value of LogRecord.EventName.
func (e Event) String() string { return eventNames[e] }

// EventOf returns Unknown for names of other events.
func EventOf(name string) Event {
	switch name {
	case "tcp.server.connection.open":
		return ConnectionOpen
	case "tcp.server.connection.close":
		return ConnectionClose
	case "tcp.server.connection.failed":
		return ConnectionFailed
	case "tcp.server.source":
		return Source
	case "tcp.server.listener":
		return Listener
	case "tcp.server.http.request":
		return HTTPRequest
	case "tcp.server.tls.handshake":
		return TLSHandshake
	}
	return Unknown
}

// Names of attributes. A test compares them with the receiver's declaration.
const (
	hostName       = "host.name"
	clientAddress  = "client.address"
	peerAddress    = "network.peer.address"
	localAddress   = "network.local.address"
	localPort      = "network.local.port"
	serverAddress  = "server.address"
	serverPort     = "server.port"
	executableName = "process.executable.name"
	netnsInode     = "tcp.netns.inode"
	errorType      = "error.type"

	receiveSize        = "tcp.receive.size"
	connectionDuration = "tcp.connection.duration"
	transmitSize       = "tcp.transmit.size"
	rttSmoothed        = "tcp.rtt.smoothed"
	closeReason        = "tcp.close.reason"

	statusCode = "http.response.status_code"
	urlPath    = "url.path"
	userID     = "user.id"
	userName   = "user.name"

	clientJA3 = "tls.client.ja3"
	clientJA4 = "tcp.tls.client.ja4"

	sourcePrefix       = "tcp.source.prefix"
	sourceRest         = "tcp.source.rest.count"
	sourceSynListening = "tcp.source.syn.listening.count"
	sourceSynClosed    = "tcp.source.syn.closed.count"
	sourceNull         = "tcp.source.flags.null.count"
	sourceFin          = "tcp.source.flags.fin.count"
	sourceXmas         = "tcp.source.flags.xmas.count"
	sourceSynFin       = "tcp.source.flags.syn_fin.count"
	sourceSynRst       = "tcp.source.flags.syn_rst.count"
	sourceMalformed    = "tcp.source.malformed.count"
	sourcePortZero     = "tcp.source.port_zero.count"
	sourceLand         = "tcp.source.land.count"
	sourceResetOther   = "tcp.source.reset.other.count"
	sourceCompleted    = "tcp.source.completed.count"
	sourcePorts        = "tcp.source.port.count"
	sourcePortsFailed  = "tcp.source.port.failed.count"
	sourcePortsStray   = "tcp.source.port.stray.count"
	sourceReceiveRate  = "tcp.source.receive.rate"
	sourceSilentPort   = "tcp.source.silent.port.number"
	sourceSilentOpen   = "tcp.source.silent.port.open.count"

	sourceResetSyn        = "tcp.source.reset.syn.count"
	sourceResetSynAck     = "tcp.source.reset.syn_ack.count"
	sourceResetFlags      = "tcp.source.reset.flags.count"
	sourceHalfOpenReset   = "tcp.source.half_open.reset.count"
	sourceHalfOpenTimeout = "tcp.source.half_open.timeout.count"
	sourceClosed          = "tcp.source.closed.count"
	sourceUnanswered      = "tcp.source.unanswered.count"
	sourceOpen            = "tcp.source.open.count"
	sourceOpenSilent      = "tcp.source.open.silent.count"

	listenerInterval       = "tcp.listener.interval"
	listenerSyn            = "tcp.listener.syn.count"
	listenerCompleted      = "tcp.listener.completed.count"
	listenerOverflow       = "tcp.listener.overflow.count"
	listenerQueueLength    = "tcp.listener.accept_queue.length"
	listenerQueueLimit     = "tcp.listener.accept_queue.limit"
	listenerAccept         = "tcp.listener.accept.duration"
	listenerOpen           = "tcp.listener.open.count"
	listenerOpenAnswered   = "tcp.listener.open.answered.count"
	listenerClosed         = "tcp.listener.closed.count"
	listenerClosedAnswered = "tcp.listener.closed.answered.count"

	namespaceCookies          = "tcp.namespace.syncookie.sent.count"
	namespaceQueueFullCookies = "tcp.namespace.queue_full.cookie.count"
	namespaceQueueFullDrops   = "tcp.namespace.queue_full.drop.count"
	namespaceOverflows        = "tcp.namespace.listen.overflow.count"
	namespaceEmbryonicResets  = "tcp.namespace.embryonic.reset.count"
)
