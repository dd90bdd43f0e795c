// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package inspect

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// TestInspectFindsTrackAgain: after packets that passed unseen in both directions, what begins
// next is seen. In one direction alone they are a body, and no byte crosses.
func TestInspectFindsTrackAgain(t *testing.T) {
	inNetNS(t)
	r := startRig(t, config())
	const unseen = 1 << 20
	first := wire.Segment().Seq
	send := func(sequence, acknowledgment uint32, payload string) *seen {
		tcp := wire.Segment(func(tcp *layers.TCP) {
			tcp.DstPort, tcp.Seq, tcp.Ack = serverPort, sequence, acknowledgment
			if payload == "" {
				wire.OnlySYN(tcp)
			}
		})
		frame := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(), tcp, gopacket.Payload(payload))
		_, err := r.guest.objects.Programs["inspect_ingress_eth"].Run(&ebpf.RunOptions{Data: frame})
		require.NoError(t, err)
		return r.drain()
	}
	send(first, 0, "")
	const head, body = "GET / HTTP/1.1\r\n\r\n", "body"
	require.Len(t, send(first+1, 1, head).segments, 1)
	require.Len(t, send(first+1+uint32(len(head)), 1000, head).segments, 1)

	assert.Empty(t, send(first+unseen, 1000, body).segments)
	found := send(first+unseen, 1000+unseen, head)
	require.Len(t, found.segments, 1)
	assert.True(t, found.segments[0].Joined)
	require.Len(t, send(first+unseen+uint32(len(head)), 2000+unseen, head).segments, 1)
}
