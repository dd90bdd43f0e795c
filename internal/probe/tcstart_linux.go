// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// startTC starts the packet vantage point in our network namespace, and in those of
// the configuration. It fails for interfaces that are named but do not exist.
func (p *Probe) startTC() error {
	own := p.context.OwnNetNS
	ports, err := p.sockets.Listeners.Ports.Enter(own)
	if err != nil || p.cfg.TCMode == TCOff {
		return err
	}
	p.tc = newTCNamespaces(&p.cfg, tcOptions{
		managers:               tc.ForProcess(),
		shares:                 p.shares,
		maps:                   p.maps.Maps,
		netns:                  own,
		ownNetNS:               own,
		ports:                  ports,
		refusedAtEgress:        true,
		tracepointTellsRefused: p.tracepointTellsRefused(),
	}, p.sockets.Listeners.Ports, p.logger)
	p.context.OtherNames = p.tc.interfaceName
	return p.tc.start()
}

// tracepointTellsRefused: tcp_send_reset fires without a socket, and is attached.
func (p *Probe) tracepointTellsRefused() bool {
	return p.host.ResetWithoutSocket && p.sockets.Attached(hook.FeatureResetSent)
}
