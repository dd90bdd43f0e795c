// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/packets"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// startPackets starts to observe packets in our network namespace, and in those of the
// configuration. It fails for interfaces that are named but do not exist.
func (p *Probe) startPackets() error {
	tables := p.sockets.Listeners.Ports
	own, err := tables.Enter(p.context.OwnNetNS)
	if err != nil || p.cfg.TCMode == TCOff {
		return err
	}
	var companions []packets.Companion
	if p.inspect != nil {
		companions = append(companions, p.inspect.companion)
	}
	p.packets = packets.New(&packets.Options{
		Config:                   &p.cfg,
		Managers:                 tc.ForProcess(),
		Maps:                     p.maps.Maps,
		OwnNetNS:                 p.context.OwnNetNS,
		OwnPorts:                 own,
		Tables:                   tables,
		Shares:                   p.shares,
		RefusedAtEgress:          true,
		TracepointReportsRefused: p.tracepointReportsRefused(),
		ResetsAtEgress:           p.resetsAtEgress(),
		HalfOpenTimeout:          p.sources.TimedOut,
		Companions:               companions,
		Logger:                   p.logger,
	})
	p.context.OtherNames = p.packets.InterfaceName
	return p.packets.Start()
}

// resetsAtEgress: the packet side counts resets that no socket sends. It needs the tracepoint to
// tell those that one sends.
func (p *Probe) resetsAtEgress() bool {
	return p.sources != nil && !p.host.ResetWithoutSocket && p.sockets.Attached(hook.FeatureResetSent)
}

// tracepointReportsRefused: tcp_send_reset fires without a socket, and is attached.
func (p *Probe) tracepointReportsRefused() bool {
	return p.host.ResetWithoutSocket && p.sockets.Attached(hook.FeatureResetSent)
}
