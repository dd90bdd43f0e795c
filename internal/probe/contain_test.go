// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package probe

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ebpftcp/ebpftcpreceiver/internal/exchange"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// faulty is a sink in which each request causes a fault.
type faulty struct {
	fact.Nop
	lost map[ledger.Cause]int
	of   map[ledger.Event]int
}

func (f *faulty) RequestSeen(e *request.Exchange) { panic(string(e.Target)) }

func (f *faulty) FactsLost(e ledger.Event, cause ledger.Cause, n int) {
	f.lost[cause] += n
	if f.of != nil {
		f.of[e] += n
	}
}

// TestFaultsOfParsersAreContained: the collector goes on, the loss is counted, and no byte of a
// request is in its own log.
func TestFaultsOfParsersAreContained(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	sink := &faulty{lost: map[ledger.Cause]int{}}
	p := &Probe{logger: zap.New(core)}
	p.context.Sink = sink
	p.cfg.Inspect = settings.Inspect{
		HTTP:           []settings.InspectedPorts{{PortRange: PortRange{First: 80, Last: 80}}},
		MaxConnections: 10, MaxBytes: 1 << 20,
	}
	i := &inspection{probe: p}
	options := i.tableOptions()
	options.Want, options.Forget = nil, nil // there is no kernel side
	i.table = exchange.New(options)
	on := &request.Connection{Flow: flow.Flow{
		Client: netip.MustParseAddrPort("192.0.2.7:40000"), Server: netip.MustParseAddrPort("192.0.2.1:80"),
	}}
	asked, answered := []byte("GET /secret HTTP/1.1\r\n\r\n"), []byte("HTTP/1.1 204 No Content\r\n\r\n")
	i.Segment(on, &stream.Segment{Sequence: 1, First: 1, Acknowledgment: 1, Begins: true, Data: asked, Time: 1})
	require.Empty(t, sink.lost)
	i.Segment(on, &stream.Segment{
		Direction: stream.ToClient, Sequence: 1, Acknowledgment: 1 + uint32(len(asked)), Data: answered, Time: 2,
	})
	assert.Equal(t, map[ledger.Cause]int{ledger.ParserFault: 1}, sink.lost)
	assert.Zero(t, i.table.Connections())
	require.Equal(t, 1, logs.Len())
	assert.Equal(t, "string", logs.All()[0].ContextMap()["fault"])
	assert.NotContains(t, logs.All()[0].ContextMap()["stack"], "secret")
}

// TestFaultsForgetRequests: what was under way on all connections counts as lost, and not the
// connections.
func TestFaultsForgetRequests(t *testing.T) {
	sink := &faulty{lost: map[ledger.Cause]int{}, of: map[ledger.Event]int{}}
	p := &Probe{logger: zap.NewNop()}
	p.context.Sink = sink
	p.cfg.Inspect = settings.Inspect{
		HTTP:           []settings.InspectedPorts{{PortRange: PortRange{First: 80, Last: 80}}},
		TLS:            []settings.PortRange{{First: 443, Last: 443}},
		MaxConnections: 10, MaxBytes: 1 << 20,
	}
	i := &inspection{probe: p}
	options := i.tableOptions()
	options.Want, options.Forget = nil, nil // there is no kernel side
	i.table = exchange.New(options)
	send := func(client, server uint16, data string) {
		on := &request.Connection{Flow: flow.Flow{
			Client: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), client),
			Server: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), server),
		}}
		i.Segment(on, &stream.Segment{Sequence: 1, First: 1, Acknowledgment: 1, Begins: true, Data: []byte(data), Time: 1})
	}
	const get = "GET / HTTP/1.1\r\n\r\n"
	send(1, 80, get+get+get)
	send(2, 80, get)
	send(3, 443, "\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03")
	send(4, 443, "EHLO client.example\r\n")
	require.Equal(t, 4, i.table.Connections())
	i.finish()
	assert.Equal(t, map[ledger.Event]int{ledger.Request: 4, ledger.Handshake: 1}, sink.of)
	assert.Zero(t, i.table.Connections())
}
