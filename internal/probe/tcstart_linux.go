// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

// startTC starts the packet vantage point in our network namespace, whose port
// table is the first. It fails for interfaces that are named but do not exist.
func (p *Probe) startTC(netns uint32) error {
	if p.cfg.TCMode == TCOff {
		return nil
	}
	p.tc = newTCVantage(&p.cfg, tcOptions{
		maps:            p.objects.maps.Maps,
		netns:           netns,
		refusedAtEgress: !p.tracepointTellsRefused(),
	}, p.logger)
	return p.tc.start()
}

// tracepointTellsRefused: tcp_send_reset fires without a socket, and is attached.
func (p *Probe) tracepointTellsRefused() bool {
	return p.objects.kernel.resetWithoutSocket && p.attached(resetFeature)
}
