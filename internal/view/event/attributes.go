// SPDX-License-Identifier: Apache-2.0

package event

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// put keeps an attribute that people read. Others are passed over.
func (e *Event) put(s *socket, key string, value pcommon.Value) {
	if e.putSocket(s, key, value) || e.putRequest(s, key, value) {
		return
	}
	switch key {
	case "process.executable.name":
		e.Process = text(value)
	case "process.pid":
		e.PID = number(value)
	case "tcp.connection.id":
		e.Connection = text(value)
	case "tcp.receive.size":
		e.Received = number(value)
	case "tcp.transmit.size":
		e.Sent = number(value)
	case "tcp.retransmit.count":
		e.Retransmits = number(value)
	case "tcp.rtt.min":
		e.RTT = seconds(value)
	case "tcp.handshake.rtt":
		s.handshakeRTT = seconds(value)
	case "tcp.connection.duration", "tcp.http.duration", "tcp.tls.duration":
		e.Duration = seconds(value)
	case "tcp.close.reason":
		s.close = text(value)
	case "error.type":
		s.fault = text(value)
	case "security_rule.name":
		e.Rule = text(value)
	case "tcp.threat.state", "tcp.block.mode":
		e.State = text(value)
	}
}

func (e *Event) putSocket(s *socket, key string, value pcommon.Value) bool {
	switch key {
	case "client.address":
		e.Client = text(value)
	case "client.port":
		e.ClientPort = port(value)
	case "server.address":
		s.address = text(value)
	case "server.port":
		s.serverPort = port(value)
	case "network.peer.address":
		s.peer = text(value)
	case "network.peer.port":
		s.peerPort = port(value)
	case "network.local.port":
		s.localPort = port(value)
	default:
		return false
	}
	return true
}

func (e *Event) putRequest(s *socket, key string, value pcommon.Value) bool {
	switch key {
	case "http.request.method":
		e.Method = text(value)
	case "url.path":
		e.Path = text(value)
	case "http.response.status_code":
		e.Status = number(value)
	case "tcp.http.wait.duration":
		// A request without an answer has waited for so long.
		if !e.Duration.Known() {
			e.Duration = seconds(value)
		}
	case "rpc.method":
		e.Call = text(value)
	case "gen_ai.request.model":
		e.Model = text(value)
	case "network.protocol.name", "tls.protocol.name":
		s.protocolName = text(value)
	case "network.protocol.version", "tls.protocol.version":
		e.Protocol = text(value)
	default:
		return false
	}
	return true
}

func text(value pcommon.Value) string { return clean.String(value.AsString()) }

// number is absent for anything but a number.
func number(value pcommon.Value) int64 {
	switch value.Type() {
	case pcommon.ValueTypeInt:
		return value.Int()
	case pcommon.ValueTypeDouble:
		return int64(value.Double())
	}
	return absent
}

func port(value pcommon.Value) uint16 {
	n := number(value)
	if n < 0 || n > math.MaxUint16 {
		return 0
	}
	return uint16(n)
}

// century bounds durations, in seconds: one that is longer is nobody's.
const century = 3.2e9

func seconds(value pcommon.Value) Seconds {
	d := -1.0
	switch value.Type() {
	case pcommon.ValueTypeDouble:
		d = value.Double()
	case pcommon.ValueTypeInt:
		d = float64(value.Int())
	}
	if d >= 0 && d <= century {
		return Seconds(d)
	}
	return absent
}
