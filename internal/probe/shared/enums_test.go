// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package probe

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/sockets"
)

// The domains know nothing of the kernel, so their enumerations are declared apart
// from the C ones that generate ours: here they are held together.
func TestDomainEnumerationsAreTheKernelSides(t *testing.T) {
	check := func(c uint32, domain int) {
		t.Helper()
		assert.EqualValues(t, c, domain)
	}
	for c, d := range map[shared.CloseReason]connection.CloseReason{
		shared.CloseReasonUnknown:     connection.CloseUnknown,
		shared.CloseReasonClientFin:   connection.CloseClientFIN,
		shared.CloseReasonServerFin:   connection.CloseServerFIN,
		shared.CloseReasonClientReset: connection.CloseClientReset,
		shared.CloseReasonServerReset: connection.CloseServerReset,
		shared.CloseReasonAborted:     connection.CloseAborted,
		shared.CloseReasonTimeout:     connection.CloseTimeout,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[shared.Failure]connection.Failure{
		shared.FailureOther:               connection.FailureOther,
		shared.FailureRefused:             connection.FailureRefused,
		shared.FailureHandshakeTimeout:    connection.FailureHandshakeTimeout,
		shared.FailureReset:               connection.FailureReset,
		shared.FailureAcceptQueueOverflow: connection.FailureAcceptQueueOverflow,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[shared.OwnerSource]owner.Source{
		shared.OwnerSourceNone:     owner.None,
		shared.OwnerSourceListener: owner.ByListener,
		shared.OwnerSourceHolder:   owner.ByHolder,
		shared.OwnerSourceCloser:   owner.ByCloser,
		shared.OwnerSourceAcceptor: owner.ByAcceptor,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[shared.PacketClass]packet.Class{
		shared.PacketClassSyn:      packet.SYN,
		shared.PacketClassSynAck:   packet.SYNACK,
		shared.PacketClassRst:      packet.RST,
		shared.PacketClassFin:      packet.FIN,
		shared.PacketClassData:     packet.Data,
		shared.PacketClassAck:      packet.ACK,
		shared.PacketClassAbnormal: packet.Abnormal,
		shared.PacketClasses:       packet.Classes,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[shared.Malformed]packet.Malformed{
		shared.MalformedNone:         packet.WellFormed,
		shared.MalformedIpTruncated:  packet.IPTruncated,
		shared.MalformedIpHeader:     packet.IPHeader,
		shared.MalformedIpLength:     packet.IPLength,
		shared.MalformedTcpTruncated: packet.TCPTruncated,
		shared.MalformedTcpOffset:    packet.TCPOffset,
		shared.MalformedTcpOptions:   packet.TCPOptions,
		shared.MalformedTcpFlags:     packet.TCPFlags,
		shared.MalformedTcpPort:      packet.TCPPort,
		shared.MalformedKinds:        packet.MalformedKinds,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[shared.PortCount]connection.PortCount{
		shared.PortCountRetransmit:       connection.Retransmits,
		shared.PortCountSynackRetransmit: connection.SYNACKRetransmits,
		shared.PortCountResetSent:        connection.ResetsSent,
		shared.PortCountResetReceived:    connection.ResetsReceived,
		shared.PortCountDrop:             connection.Drops,
		shared.PortCountFailed:           connection.Failures,
		shared.PortCountOpened:           connection.Opens,
	} {
		check(uint32(c), int(d))
	}
}

// The kernel side's ledger is copied into internal/ledger by number.
func TestLedgerIsTheKernelSides(t *testing.T) {
	for c, event := range map[shared.Event]ledger.Event{
		shared.EventConnection: ledger.Connection,
		shared.EventOpen:       ledger.Open,
		shared.EventFailed:     ledger.Failed,
		shared.EventPacket:     ledger.Packet,
		shared.EventListener:   ledger.Listener,
		shared.EventProcess:    ledger.Process,
		shared.EventPortCount:  ledger.PortCount,
		shared.Events:          ledger.Events,
	} {
		assert.EqualValues(t, event, c)
	}
	for c, cause := range map[shared.Cause]ledger.Cause{
		shared.CauseMapFull:     ledger.MapFull,
		shared.CauseMapShare:    ledger.MapShare,
		shared.CauseMapStale:    ledger.MapStale,
		shared.CauseRingFull:    ledger.RingFull,
		shared.CauseRateLimited: ledger.RateLimited,
		shared.CauseRateShare:   ledger.RateShare,
	} {
		assert.EqualValues(t, cause, c)
	}
}

func TestUndecodableRecordsAreCounted(t *testing.T) {
	for name, sample := range map[string][]byte{
		"empty":             {},
		"shorter than head": {1, 0, 0},
		"unknown kind":      {255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"close cut short":   {byte(shared.RecordKindClose), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			p := &Probe{context: record.Context{Sink: r}}
			p.sockets = &sockets.Vantage{Decoder: sockets.NewDecoder(&p.context, 0, nil)}
			p.packets.Context = &p.context
			p.decode(sample)
			assert.Equal(t, []string{"connection: drain undecodable (1)"}, r.lost)
		})
	}
}
