// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/live"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/sources"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// newSources comes before the programs of both vantage points, which get its seed.
func (p *Probe) newSources() error {
	if !p.cfg.Sources.Enabled {
		return nil
	}
	if c := &p.cfg.Sources; c.Records || c.Services {
		p.looks = live.New(live.Options{Mask: c.Mask(), Clients: c.Records, Services: c.Services, SilentAge: c.SilentAge})
	}
	var err error
	p.sources, err = sources.New(&sources.Options{
		Config: &p.cfg, Maps: p.maps.Maps, Shares: p.shares, Looks: p.looks, Context: &p.context, Logger: p.logger,
	})
	return err
}

// tellAbsentCounts says which counts no hook tells.
func (p *Probe) tellAbsentCounts() {
	if p.sources == nil {
		return
	}
	var absent source.Kinds
	observed := p.packets != nil
	if !observed {
		absent = absent.With(source.SYNListening, source.SYNClosed, source.FlagsNull, source.FlagsFIN, source.FlagsXmas,
			source.FlagsSYNFIN, source.FlagsSYNRST, source.Malformed, source.PortZero, source.Land)
	}
	if !observed || !p.cfg.HalfOpen {
		absent = absent.With(source.HalfOpenReset, source.HalfOpenTimeout)
	}
	if !p.tracepointReportsRefused() {
		absent = absent.With(source.ResetSYN, source.ResetSYNACK, source.ResetFlags)
		if !observed || !p.resetsAtEgress() {
			absent = absent.With(source.ResetOther)
		}
	}
	if !p.sockets.Attached(hook.FeatureConnection) {
		absent = absent.With(source.Completed, source.Closed, source.Unanswered)
	}
	p.sources.Absent = absent
	p.sockets.Listeners.CountConnections(observed, p.sockets.Attached(hook.FeatureConnection))
}

// drainBetweenPasses drains, and reads the sources whenever their interval is over.
func (p *Probe) drainBetweenPasses(until time.Time) error {
	if p.sources != nil && p.detached && !p.passedLast {
		// Nothing counts any more. Each further pass would report the listeners again.
		p.passedLast = true
		p.passSources(time.Now())
	}
	for p.sources != nil && !p.detached && p.sources.Due().Before(until) {
		if err := p.drain(p.sources.Due()); err != nil {
			return err
		}
		p.passSources(time.Now())
	}
	return p.drain(until)
}

// passSources reports sources, and the listeners that they may have troubled.
func (p *Probe) passSources(now time.Time) {
	lookErr := p.sockets.Look(now)
	p.sources.Pass(now)
	err := errors.Join(lookErr, p.sockets.Listeners.ReportServices(now))
	p.looks.Spend()
	if err != nil && !p.servicesFail {
		p.logger.Warn("what open connections say, or how listeners and network namespaces fare, is reported in part", zap.Error(err))
	}
	p.servicesFail = err != nil
}
