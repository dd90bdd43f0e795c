// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"fmt"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/exchange"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/inspect"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/packets"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// inspectPause is how often the ring buffer of segments is drained. The programs do not wait
// for an answer, so this bounds only how much they copy of a body that nobody wants.
const inspectPause = 20 * time.Millisecond

// inspection joins the inspecting vantage point and the table of exchanges.
type inspection struct {
	*inspect.Vantage
	probe *Probe
	table *exchange.Table
	// used are segments that the table took since the sink learned of them.
	used  int
	swept time.Time
	// ending is set once the programs are detached: what is under way will not end.
	ending bool
}

func (p *Probe) newInspection() error {
	if !p.cfg.Inspect.On() {
		return nil
	}
	vantage, err := inspect.New(&inspect.Options{
		Config: &p.cfg, OwnNetNS: p.context.OwnNetNS, Maps: p.maps.Maps, Context: &p.context,
	})
	if err != nil {
		return err
	}
	p.inspect = &inspection{Vantage: vantage, probe: p}
	p.inspect.table = exchange.New(p.inspect.tableOptions())
	return nil
}

func (i *inspection) tableOptions() exchange.Options {
	cfg := &i.probe.cfg.Inspect
	return exchange.Options{
		Options: stream.Options{
			HeadBytes: cfg.HeadBytes,
			Ports: func(port uint16) stream.Port {
				bodies, _ := cfg.BodiesOf(port)
				return stream.Port{RequestBody: bodies.Request, AnswerBody: bodies.Answer, AnswerTail: bodies.Tail}
			},
			Want: func(key *exchange.Key, d stream.Direction, sequence uint32) {
				i.Want(key.NetNS, &key.Flow, d, sequence)
			},
			Passed: func(key *exchange.Key, d stream.Direction) (uint32, int64) {
				return i.Passed(key.NetNS, &key.Flow, d)
			},
			Follows: func(key *exchange.Key, d stream.Direction) bool {
				return i.Follows(key.NetNS, &key.Flow, d)
			},
			Follow: func(key *exchange.Key, d stream.Direction, sequence uint32) {
				i.Follow(key.NetNS, &key.Flow, d, sequence)
			},
			Widen: func(key *exchange.Key, d stream.Direction) { i.Widen(key.NetNS, &key.Flow, d) },
			Lost:  i.lost,
		},
		MaxConnections: int(cfg.MaxConnections),
		MaxBytes:       cfg.MaxBytes,
		IdleTimeout:    cfg.IdleTimeout,
		Forget:         func(key *exchange.Key) { i.Forget(key.NetNS, &key.Flow) },
		Report:         func(e *request.Exchange) { i.probe.context.Sink.RequestSeen(e) },
		Protocols:      protocolsOf(cfg),
		TLS: exchange.TLS{
			IdleTimeout: cfg.TLSIdleTimeout,
			Report:      func(h *tls.Handshake) { i.probe.context.Sink.HandshakeSeen(h) },
			Lost: func(_ exchange.Loss, n int) {
				i.probe.context.Sink.FactsLost(ledger.Handshake, ledger.BudgetFull, n)
			},
		},
	}
}

// protocolsOf keeps what is looked for on each port, because every connection asks.
func protocolsOf(cfg *settings.Inspect) func(port uint16) exchange.Protocols {
	known := map[uint16]exchange.Protocols{}
	return func(port uint16) exchange.Protocols {
		protocols, ok := known[port]
		if !ok {
			protocols.HTTP, protocols.TLS = cfg.Protocols(port)
			known[port] = protocols
		}
		return protocols
	}
}

// lost counts requests that the table could not follow.
func (i *inspection) lost(reason exchange.Loss, n int) {
	cause := ledger.BudgetFull
	switch reason {
	case exchange.LossTable:
		cause = ledger.TableFull
	case exchange.LossUnproven:
		cause = ledger.Unproven
	}
	i.probe.context.Sink.FactsLost(ledger.Request, cause, n)
}

// Segment implements inspect.Taker.
func (i *inspection) Segment(c *request.Connection, s *stream.Segment) {
	i.used++
	defer i.contain()
	i.table.Segment(c, s)
}

// sweep reports what waited too long.
func (i *inspection) sweep(now time.Time) {
	defer i.contain()
	i.table.Sweep(now.UnixNano())
}

// finish reports all that is under way.
func (i *inspection) finish() {
	defer i.contain()
	i.table.Finish()
}

// contain keeps a fault of a parser from ending the collector: attackers choose what parsers
// read. What they followed starts again, and counts as lost.
func (i *inspection) contain() {
	fault := recover()
	if fault == nil {
		return
	}
	// Errors of the runtime have numbers only. Any other text could have bytes of payload.
	text := fmt.Sprintf("%T", fault)
	if err, ok := fault.(runtime.Error); ok {
		text = err.Error()
	}
	requests, handshakes := i.table.Forgotten()
	for event, n := range map[ledger.Event]int{ledger.Request: requests, ledger.Handshake: handshakes} {
		if n > 0 {
			i.probe.context.Sink.FactsLost(event, ledger.ParserFault, n)
		}
	}
	i.probe.logger.Error("a parser of inspected bytes failed and forgot all connections; please report this",
		zap.String("fault", text), zap.Stack("stack"))
	i.table = exchange.New(i.tableOptions())
}

// drain reports the requests that wait, and those that waited too long.
func (i *inspection) drain() {
	more := i.Drain(i)
	if i.used > 0 {
		i.probe.context.Sink.SegmentsUsed(i.used)
		i.used = 0
	}
	if now := time.Now(); now.Sub(i.swept) >= time.Second {
		i.swept = now
		i.sweep(now)
	}
	if i.ending && !more {
		i.finish()
	}
}

// companion attaches the inspecting programs wherever packets are observed.
func (i *inspection) companion(netns uint32, ports *ebpf.Map, logger *zap.Logger) packets.Guest {
	return i.In(netns, ports, logger)
}
