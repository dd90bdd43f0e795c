// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"sync"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/gateway"
)

// Ports has a mark for each port that is selected.
type Ports [1 << 16]bool

// Gateways say which ports are those of gateways.
type Gateways struct {
	// Kong are the ports where Kong listens; nil if there are none.
	Kong *Ports
	// Upstream is how many requests to other ports can wait for the gateway's request that
	// they belong to.
	Upstream int
}

// upstreamTime is how long figures of an upstream request can wait. The gateway may send a long
// answer to a slow client meanwhile.
const upstreamTime = 10 * time.Minute

// gateways ties the requests of gateways to those that they made upstream.
type gateways struct {
	kong *Ports
	// mu guards the figures of tie.
	mu     sync.Mutex
	tie    *gateway.Tie
	values []gateway.Value
}

func newGateways(options *Gateways) *gateways {
	if options.Kong == nil {
		return nil
	}
	return &gateways{
		kong: options.Kong,
		tie:  gateway.NewTie(gateway.DefaultNames(), options.Upstream, upstreamTime),
	}
}

// Gateway is what a gateway says of a request, and what is known of the request that it made
// upstream. Text is redacted.
type Gateway struct {
	// Name is the product; "" if no gateway is known to have a part in the request.
	Name   string
	Values []gateway.Value
	// Upstream is known if Tied is set.
	Upstream gateway.Upstream
	Tied     bool
}

// Tie finds the upstream request of a gateway's request, or remembers an upstream request.
// Call it for each exchange, before the next one, if there are records at all.
func (v *Viewer) Tie(view *View) {
	g := v.gateways
	if g == nil {
		return
	}
	v.detailed = true
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.kong[view.Server.Port()] {
		view.Gateway.Upstream, view.Gateway.Tied = g.tie.Take(view.Exchange, view.Finished)
		return
	}
	g.tie.Hold(view.Exchange, view.Finished)
}

// UpstreamFigures returns what became of upstream requests. It is safe for concurrent use.
// Without a Viewer, there were none.
func (v *Viewer) UpstreamFigures() gateway.Figures {
	if v == nil || v.gateways == nil {
		return gateway.Figures{}
	}
	v.gateways.mu.Lock()
	defer v.gateways.mu.Unlock()
	return v.gateways.tie.Figures()
}

// putGateway adds what header fields say. Kong's answers are its own word. In a request, the
// fields are the word of whoever sent it, so they count only from a trusted proxy.
func (v *Viewer) putGateway(view *View) {
	g := v.gateways
	if g == nil {
		return
	}
	to := &view.Gateway
	switch {
	case g.kong[view.Server.Port()]:
		to.Name = gateway.NameKong
		g.values = gateway.AppendKong(g.values[:0], view.Exchange, gateway.ClientSide)
		g.values = append(g.values, to.Upstream.Said...)
	case v.options.Trust.Trusts(view.Exchange.Client.Addr()):
		g.values = gateway.AppendKong(g.values[:0], view.Exchange, gateway.UpstreamSide)
		if len(g.values) > 0 {
			to.Name = gateway.NameKong
		}
	default:
		return
	}
	for i := range g.values {
		if value := &g.values[i]; value.Text != nil {
			value.Text = v.header(value.Field.Header(), value.Text)
		}
	}
	to.Values = g.values
}
