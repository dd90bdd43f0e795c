// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// startTC starts the packet vantage point in our network namespace, and in those of
// the configuration. It fails for interfaces that are named but do not exist.
func (p *Probe) startTC(netns uint32) error {
	ports, err := p.decoder.listeners.enter(netns)
	if err != nil || p.cfg.TCMode == TCOff {
		return err
	}
	p.tc = newTCNamespaces(&p.cfg, tcOptions{
		managers:               tc.ForProcess(),
		shares:                 p.shares,
		maps:                   p.objects.maps.Maps,
		netns:                  netns,
		ownNetNS:               p.ownNetNS,
		ports:                  ports,
		refusedAtEgress:        true,
		tracepointTellsRefused: p.tracepointTellsRefused(),
	}, p.decoder.listeners, p.logger)
	p.decoder.otherNames = p.tc.interfaceName
	return p.tc.start()
}

// tracepointTellsRefused: tcp_send_reset fires without a socket, and is attached.
func (p *Probe) tracepointTellsRefused() bool {
	return p.objects.host.ResetWithoutSocket && p.attached(hook.FeatureResetSent)
}
