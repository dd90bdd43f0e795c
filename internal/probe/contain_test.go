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
}

func (f *faulty) RequestSeen(e *request.Exchange) { panic(string(e.Target)) }

func (f *faulty) FactsLost(_ ledger.Event, cause ledger.Cause, n int) { f.lost[cause] += n }

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
