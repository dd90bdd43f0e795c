// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package shared

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
)

// The domains know nothing of the kernel, so their enumerations are declared apart from the
// generated ones. This test compares the two.
func TestDomainEnumerationsAreTheKernelSides(t *testing.T) {
	check := func(c uint32, domain int) {
		t.Helper()
		assert.EqualValues(t, c, domain)
	}
	for c, d := range map[CloseReason]connection.CloseReason{
		CloseReasonUnknown:     connection.CloseUnknown,
		CloseReasonClientFin:   connection.CloseClientFIN,
		CloseReasonServerFin:   connection.CloseServerFIN,
		CloseReasonClientReset: connection.CloseClientReset,
		CloseReasonServerReset: connection.CloseServerReset,
		CloseReasonAborted:     connection.CloseAborted,
		CloseReasonTimeout:     connection.CloseTimeout,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[Failure]connection.Failure{
		FailureOther:               connection.FailureOther,
		FailureRefused:             connection.FailureRefused,
		FailureHandshakeTimeout:    connection.FailureHandshakeTimeout,
		FailureReset:               connection.FailureReset,
		FailureAcceptQueueOverflow: connection.FailureAcceptQueueOverflow,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[OwnerSource]owner.Source{
		OwnerSourceNone:     owner.None,
		OwnerSourceListener: owner.ByListener,
		OwnerSourceHolder:   owner.ByHolder,
		OwnerSourceCloser:   owner.ByCloser,
		OwnerSourceAcceptor: owner.ByAcceptor,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[PacketClass]packet.Class{
		PacketClassSyn:      packet.SYN,
		PacketClassSynAck:   packet.SYNACK,
		PacketClassRst:      packet.RST,
		PacketClassFin:      packet.FIN,
		PacketClassData:     packet.Data,
		PacketClassAck:      packet.ACK,
		PacketClassAbnormal: packet.Abnormal,
		PacketClasses:       packet.Classes,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[Malformed]packet.Malformed{
		MalformedNone:         packet.WellFormed,
		MalformedIpTruncated:  packet.IPTruncated,
		MalformedIpHeader:     packet.IPHeader,
		MalformedIpLength:     packet.IPLength,
		MalformedTcpTruncated: packet.TCPTruncated,
		MalformedTcpOffset:    packet.TCPOffset,
		MalformedTcpOptions:   packet.TCPOptions,
		MalformedTcpFlags:     packet.TCPFlags,
		MalformedTcpPort:      packet.TCPPort,
		MalformedKinds:        packet.MalformedKinds,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[PortCount]connection.PortCount{
		PortCountRetransmit:       connection.Retransmits,
		PortCountSynackRetransmit: connection.SYNACKRetransmits,
		PortCountResetSent:        connection.ResetsSent,
		PortCountResetReceived:    connection.ResetsReceived,
		PortCountDrop:             connection.Drops,
		PortCountFailed:           connection.Failures,
		PortCountOpened:           connection.Opens,
	} {
		check(uint32(c), int(d))
	}
}

// The kernel side's ledger is copied into internal/ledger by number.
func TestLedgerIsTheKernelSides(t *testing.T) {
	for c, event := range map[Event]ledger.Event{
		EventConnection:  ledger.Connection,
		EventOpen:        ledger.Open,
		EventFailed:      ledger.Failed,
		EventPacket:      ledger.Packet,
		EventListener:    ledger.Listener,
		EventProcess:     ledger.Process,
		EventPortCount:   ledger.PortCount,
		EventSegment:     ledger.Segment,
		EventRequest:     ledger.Request,
		EventHandshake:   ledger.Handshake,
		EventSource:      ledger.Source,
		EventService:     ledger.Service,
		EventSourceCount: ledger.SourceCount,
		Events:           ledger.Update, // the first that only user space knows
	} {
		assert.EqualValues(t, event, c)
	}
	for c, cause := range map[Cause]ledger.Cause{
		CauseMapFull:     ledger.MapFull,
		CauseMapShare:    ledger.MapShare,
		CauseMapStale:    ledger.MapStale,
		CauseRingFull:    ledger.RingFull,
		CauseRateLimited: ledger.RateLimited,
		CauseRateShare:   ledger.RateShare,
	} {
		assert.EqualValues(t, cause, c)
	}
}
