// SPDX-License-Identifier: Apache-2.0

package reading

import (
	"net/netip"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

// fields take one attribute of each event. They skip those that no rule needs.
var fields = [Events]func(*Record, string, pcommon.Value) Outcome{
	ConnectionOpen:   ofConnection,
	ConnectionClose:  ofConnection,
	ConnectionFailed: ofConnection,
	Source:           ofSource,
	Listener:         ofListener,
	HTTPRequest:      ofRequest,
	TLSHandshake:     ofHandshake,
}

func ofConnection(to *Record, key string, v pcommon.Value) Outcome {
	switch key {
	case clientAddress:
		return address(&to.Client, v)
	case serverAddress:
		return address(&to.Server, v)
	case serverPort:
		return port(&to.Port, v)
	case executableName:
		return text(&to.Process, v)
	case netnsInode:
		return unsigned(&to.NetNS, v)
	case errorType:
		return failure(&to.Failure, v)
	case receiveSize:
		return integer(&to.Received, v)
	case connectionDuration:
		return double(&to.Duration, v)
	case transmitSize:
		return integer(&to.Sent, v)
	case rttSmoothed:
		return double(&to.RTT, v)
	case closeReason:
		return closed(&to.ClientReset, v)
	}
	return Read
}

// ofRequest: the client is that of the application, the other three are the socket's.
func ofRequest(to *Record, key string, v pcommon.Value) Outcome {
	switch key {
	case clientAddress:
		return address(&to.Client, v)
	case peerAddress:
		return address(&to.Peer, v)
	case localAddress:
		return address(&to.Server, v)
	case localPort:
		return port(&to.Port, v)
	case executableName:
		return text(&to.Process, v)
	case netnsInode:
		return unsigned(&to.NetNS, v)
	case statusCode:
		return integer(&to.Status, v)
	case urlPath:
		return text(&to.Path, v)
	}
	return Read
}

func ofHandshake(to *Record, key string, v pcommon.Value) Outcome {
	switch key {
	case clientAddress:
		return address(&to.Client, v)
	case peerAddress:
		return address(&to.Peer, v)
	case localAddress:
		return address(&to.Server, v)
	case localPort:
		return port(&to.Port, v)
	case executableName:
		return text(&to.Process, v)
	case netnsInode:
		return unsigned(&to.NetNS, v)
	case clientJA3:
		return text(&to.JA3, v)
	case clientJA4:
		return text(&to.JA4, v)
	}
	return Read
}

func ofSource(to *Record, key string, v pcommon.Value) Outcome {
	c := &to.Source
	switch key {
	case clientAddress:
		return address(&to.Client, v)
	case sourcePrefix:
		return prefix(&to.Prefix, v)
	case netnsInode:
		return unsigned(&to.NetNS, v)
	case sourceSynListening:
		return c.count(&c.SynListening, vector.SYNListening, v)
	case sourceSynClosed:
		return c.count(&c.SynClosed, vector.SYNClosed, v)
	case sourceNull:
		return c.count(&c.Null, vector.FlagsNull, v)
	case sourceFin:
		return c.count(&c.Fin, vector.FlagsFIN, v)
	case sourceXmas:
		return c.count(&c.Xmas, vector.FlagsXmas, v)
	case sourceSynFin:
		return c.count(&c.SynFin, vector.FlagsSYNFIN, v)
	case sourceSynRst:
		return c.count(&c.SynRst, vector.FlagsSYNRST, v)
	case sourceMalformed:
		return c.count(&c.Malformed, vector.Malformed, v)
	case sourcePortZero:
		return c.count(&c.PortZero, vector.PortZero, v)
	case sourceLand:
		return c.count(&c.Land, vector.Land, v)
	}
	return ofSourceOutcome(to, key, v)
}

// ofSourceOutcome has the rest of ofSource.
func ofSourceOutcome(to *Record, key string, v pcommon.Value) Outcome {
	c := &to.Source
	switch key {
	case sourceResetOther:
		return c.count(&c.ResetOther, vector.ResetOther, v)
	case sourceCompleted:
		return c.count(&c.Completed, vector.Completed, v)
	case sourcePorts:
		return c.count(&c.Ports, vector.Ports, v)
	case sourcePortsFailed:
		return c.count(&c.PortsFailed, vector.PortsFailed, v)
	case sourcePortsStray:
		return c.count(&c.PortStray, vector.PortsStray, v)
	case sourceReceiveRate:
		c.known |= 1 << vector.ReceiveRate
		return double(&c.ReceiveRate, v)
	case sourceSilentPort:
		return integer(&c.SilentPort, v)
	case sourceSilentOpen:
		return integer(&c.SilentOpen, v)
	case sourceRest:
		return integer(&c.Rest, v)
	}
	return ofSourceRest(to, key, v)
}

// ofSourceRest has what only scores need.
func ofSourceRest(to *Record, key string, v pcommon.Value) Outcome {
	c := &to.Source
	switch key {
	case sourceResetSyn:
		return c.count(&c.ResetSyn, vector.ResetSYN, v)
	case sourceResetSynAck:
		return c.count(&c.ResetSynAck, vector.ResetSYNACK, v)
	case sourceResetFlags:
		return c.count(&c.ResetFlags, vector.ResetFlags, v)
	case sourceHalfOpenReset:
		return c.count(&c.HalfOpenReset, vector.HalfOpenReset, v)
	case sourceHalfOpenTimeout:
		return c.count(&c.HalfOpenTimeout, vector.HalfOpenTimeout, v)
	case sourceClosed:
		return c.count(&c.Closed, vector.ClosedCount, v)
	case sourceUnanswered:
		return c.count(&c.Unanswered, vector.Unanswered, v)
	case sourceOpen:
		return c.count(&c.Open, vector.Open, v)
	case sourceOpenSilent:
		return c.count(&c.OpenSilent, vector.OpenSilent, v)
	}
	return Read
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

func ofListener(to *Record, key string, v pcommon.Value) Outcome {
	c := &to.Service
	switch key {
	case serverAddress:
		return address(&to.Server, v)
	case serverPort:
		return port(&to.Port, v)
	case executableName:
		return text(&to.Process, v)
	case netnsInode:
		return unsigned(&to.NetNS, v)
	case listenerInterval:
		return double(&c.Interval, v)
	case listenerSyn:
		return integer(&c.Syn, v)
	case listenerCompleted:
		return integer(&c.Completed, v)
	case listenerOverflow:
		return integer(&c.Overflow, v)
	case listenerQueueLength:
		return integer(&c.QueueLength, v)
	case listenerQueueLimit:
		return integer(&c.QueueLimit, v)
	case listenerAccept:
		return double(&c.Accept, v)
	}
	return ofListenerOutcome(to, key, v)
}

// ofListenerOutcome has the rest of ofListener.
func ofListenerOutcome(to *Record, key string, v pcommon.Value) Outcome {
	c := &to.Service
	switch key {
	case listenerOpen:
		return integer(&c.Open, v)
	case listenerOpenAnswered:
		return integer(&c.OpenAnswered, v)
	case listenerClosed:
		return integer(&c.Closed, v)
	case listenerClosedAnswered:
		return integer(&c.ClosedAnswered, v)
	case namespaceCookies:
		return integer(&c.Cookies, v)
	case namespaceQueueFullCookies:
		return integer(&c.QueueFullCookies, v)
	case namespaceQueueFullDrops:
		return integer(&c.QueueFullDrops, v)
	case namespaceOverflows:
		return integer(&c.NamespaceOverflows, v)
	case namespaceEmbryonicResets:
		return integer(&c.EmbryonicResets, v)
	}
	return Read
}
