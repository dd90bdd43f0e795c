// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package probe

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
)

// The domains know nothing of the kernel, so their enumerations are declared apart
// from the C ones that generate ours: here they are held together.
func TestDomainEnumerationsAreTheKernelSides(t *testing.T) {
	check := func(c uint32, domain int) {
		t.Helper()
		assert.EqualValues(t, c, domain)
	}
	for c, d := range map[sockCloseReason]connection.CloseReason{
		sockCloseReasonCLOSE_UNKNOWN:      connection.CloseUnknown,
		sockCloseReasonCLOSE_CLIENT_FIN:   connection.CloseClientFIN,
		sockCloseReasonCLOSE_SERVER_FIN:   connection.CloseServerFIN,
		sockCloseReasonCLOSE_CLIENT_RESET: connection.CloseClientReset,
		sockCloseReasonCLOSE_SERVER_RESET: connection.CloseServerReset,
		sockCloseReasonCLOSE_ABORTED:      connection.CloseAborted,
		sockCloseReasonCLOSE_TIMEOUT:      connection.CloseTimeout,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[sockFailure]connection.Failure{
		sockFailureFAILURE_OTHER:                 connection.FailureOther,
		sockFailureFAILURE_REFUSED:               connection.FailureRefused,
		sockFailureFAILURE_HANDSHAKE_TIMEOUT:     connection.FailureHandshakeTimeout,
		sockFailureFAILURE_RESET:                 connection.FailureReset,
		sockFailureFAILURE_ACCEPT_QUEUE_OVERFLOW: connection.FailureAcceptQueueOverflow,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[sockOwnerSource]owner.Source{
		sockOwnerSourceOWNER_NONE:     owner.None,
		sockOwnerSourceOWNER_LISTENER: owner.ByListener,
		sockOwnerSourceOWNER_HOLDER:   owner.ByHolder,
		sockOwnerSourceOWNER_CLOSER:   owner.ByCloser,
		sockOwnerSourceOWNER_ACCEPTOR: owner.ByAcceptor,
	} {
		check(uint32(c), int(d))
	}
	for c, d := range map[sockPortCount]connection.PortCount{
		sockPortCountPORT_RETRANSMIT:        connection.Retransmits,
		sockPortCountPORT_SYNACK_RETRANSMIT: connection.SYNACKRetransmits,
		sockPortCountPORT_RESET_SENT:        connection.ResetsSent,
		sockPortCountPORT_RESET_RECEIVED:    connection.ResetsReceived,
		sockPortCountPORT_DROP:              connection.Drops,
		sockPortCountPORT_FAILED:            connection.Failures,
		sockPortCountPORT_OPENED:            connection.Opens,
	} {
		check(uint32(c), int(d))
	}
}

func TestUndecodableRecordsAreCounted(t *testing.T) {
	for name, sample := range map[string][]byte{
		"empty":             {},
		"shorter than head": {1, 0, 0},
		"unknown kind":      {255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"close cut short":   {byte(sockRecordKindRECORD_CLOSE), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			d := &decoder{handler: r}
			d.ring(sample)
			assert.Equal(t, []string{"connection: drain undecodable (1)"}, r.lost)
		})
	}
}
