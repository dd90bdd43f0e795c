// SPDX-License-Identifier: Apache-2.0

package facttest

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// Handshake is a completed TLS handshake, with every optional member that can go together.
func Handshake() *tls.Handshake {
	return &tls.Handshake{
		Connection: request.Connection{Flow: Flow(), NetNS: OwnNetNS, Interface: "eth0", ID: 7<<19 | 1023<<3},
		Offered:    true,
		Hello: tls.Hello{
			Version: tls.Version12, Named: true, Name: []byte("shop.example"),
			Protocols: []byte("\x02h2\x08http/1.1"), Versions: []byte{0x0a, 0x0a, 3, 4, 3, 3},
		},
		JA3:          []byte("4826a90ec2daf4f7b4b64cc1c8bd343b"),
		JA4:          []byte("t13d1516h2_8daaf6152771_e5627efa2ab1"),
		Retried:      true,
		Answered:     Epoch + 2e6,
		Version:      tls.Version12,
		Cipher:       0xc02f,
		Protocol:     []byte("h2"),
		ResumedKnown: true,
		Outcome:      tls.OutcomeCompleted,
		Alert:        112,
		Alerted:      true,
		Began:        Epoch,
		Ended:        Epoch + 5e6,
	}
}
