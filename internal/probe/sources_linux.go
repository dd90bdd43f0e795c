// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/sources"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// newSources comes before the programs of both vantage points, which get its seed.
func (p *Probe) newSources() error {
	if !p.cfg.Sources.Enabled {
		return nil
	}
	var err error
	p.sources, err = sources.New(&sources.Options{
		Config: &p.cfg, Maps: p.maps.Maps, Shares: p.shares, Context: &p.context, Logger: p.logger,
	})
	return err
}

// tellAbsentCounts says which counts no hook tells.
func (p *Probe) tellAbsentCounts() {
	if p.sources == nil {
		return
	}
	absent := source.Kinds(0).With(source.HalfOpenReset, source.HalfOpenTimeout)
	if !p.tracepointReportsRefused() {
		absent = absent.With(source.ResetSYN, source.ResetSYNACK, source.ResetFlags, source.ResetOther)
	}
	if !p.sockets.Attached(hook.FeatureConnection) {
		absent = absent.With(source.Completed, source.Closed, source.Unanswered)
	}
	p.sources.Absent = absent
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
	p.sources.Pass(now)
	err := p.sockets.Listeners.ReportServices(now)
	if err != nil && !p.servicesFail {
		p.logger.Warn("how listeners and network namespaces fare is reported in part", zap.Error(err))
	}
	p.servicesFail = err != nil
}
