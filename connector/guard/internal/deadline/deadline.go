// SPDX-License-Identifier: Apache-2.0

// Package deadline renews the deadline after which the kernel lets everything pass. It waits for no
// lock of those who decide.
package deadline

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Kernel is what a deadline needs of it.
type Kernel interface {
	// Renew lets blocks hold for a while, LetPass lets everything pass.
	Renew() error
	LetPass() error
}

// Deadline is renewed unless the kill file exists.
type Deadline struct {
	Kernel   Kernel
	KillFile string
	Logger   *zap.Logger
	// Failed counts what the kernel refuses. Begun is told that blocks hold from now on.
	Failed func()
	Begun  func()

	holding atomic.Bool
	// refused is what the kernel refused the last time; empty if it took it.
	refused string
}

// Holding tells whether blocks hold. That of no deadline never does.
func (d *Deadline) Holding() bool { return d != nil && d.holding.Load() }

// Run renews the deadline until the context ends, whatever a consumer or the storage waits for.
func (d *Deadline) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.Hold()
		}
	}
}

// Hold renews it once. It belongs to one goroutine.
func (d *Deadline) Hold() {
	killed := false
	if d.KillFile != "" {
		_, err := os.Stat(d.KillFile)
		killed = err == nil
	}
	var err error
	what := "renew the deadline"
	if killed {
		what, err = "let everything pass", d.Kernel.LetPass()
	} else {
		err = d.Kernel.Renew()
	}
	d.tell(what, err)
	held, holding := d.holding.Load(), !killed && err == nil
	d.holding.Store(holding)
	switch {
	case holding && !held:
		d.Begun()
	case held && !holding:
		d.Logger.Warn("everything passes", zap.Bool("kill_file", killed), zap.Error(err))
	}
}

// tell counts each refusal, and logs only when that changes: it comes twice a second.
func (d *Deadline) tell(what string, err error) {
	before := d.refused
	d.refused = ""
	if err != nil {
		d.refused = what
		d.Failed()
	}
	switch {
	case d.refused == before:
	case err != nil:
		d.Logger.Warn("the kernel refuses something to the guard", zap.String("what", what), zap.Error(err))
	default:
		d.Logger.Info("the kernel refuses nothing any more", zap.String("what", before))
	}
}

// End says that nothing holds any more.
func (d *Deadline) End() {
	if d != nil {
		d.holding.Store(false)
	}
}
