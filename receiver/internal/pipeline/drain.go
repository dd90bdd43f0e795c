// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/cleanlog"
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/observe"
)

// maxDrain bounds one Drain, and so the time that a shutdown waits for it.
const maxDrain = 250 * time.Millisecond

// Kernel is the kernel side as a receiver uses it: a *probe.Probe, or a fake in tests. One
// goroutine at a time uses it.
type Kernel interface {
	Start(fact.Sink) error
	Drain(until time.Time) error
	Snapshot(visit func(*connection.Live)) (*probe.Snapshot, error)
	OwnNetNS() uint32
	Hooks() []probe.HookState
	MapBytes() (uint64, error)
	Detach() error
	Close() error
}

var _ Kernel = (*probe.Probe)(nil)

// Status receives what changes the status of the component.
type Status interface {
	// Failed reports an error that may pass.
	Failed(err error)
	// Attached reports the state of each hook once reading from the kernel works again.
	Attached(hooks []probe.HookState)
}

// drain is the goroutine that owns the kernel side: it reads records all the time and a
// snapshot every interval.
type drain struct {
	kernel   Kernel
	observer *observe.Observer
	ledger   *ledger.Ledger
	interval time.Duration
	maxAge   time.Duration
	// flushTime bounds the last drain.
	flushTime time.Duration
	status    Status
	warn      *limitedWarning
	losses    *lossWatch
	// metrics is nil without a metrics pipeline.
	metrics *MetricSender
	last    atomic.Pointer[probe.Snapshot]
	// drainFails and snapshotFails are set while reading fails.
	drainFails, snapshotFails bool
	// err holds the errors of finish; read it after finished.
	err      error
	finished chan struct{}
}

// run drains until stop is closed, then reads what is left and closes the kernel side.
func (d *drain) run(stop <-chan struct{}) {
	defer close(d.finished)
	next := time.Now().Add(d.interval)
	slice := min(d.maxAge, maxDrain)
	for {
		select {
		case <-stop:
			d.finish()
			return
		default:
		}
		until := time.Now().Add(slice)
		if next.Before(until) {
			until = next
		}
		err := d.kernel.Drain(until)
		d.health(&d.drainFails, "drain the kernel's records", err)
		if err != nil {
			pause(until, stop)
		}
		now := time.Now()
		// Flush records that would be too old after the next drain.
		d.observer.FlushOlder(now.Add(slice - d.maxAge))
		if !now.Before(next) {
			d.snapshot()
			if next = next.Add(d.interval); next.Before(now) {
				next = now.Add(d.interval)
			}
		}
	}
}

// pause keeps a drain that fails at once from spinning.
func pause(until time.Time, stop <-chan struct{}) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	}
}

func (d *drain) snapshot() {
	d.observer.BeginPass()
	snapshot, err := d.kernel.Snapshot(d.observer.Live)
	d.health(&d.snapshotFails, "read the kernel's maps", err)
	if snapshot == nil {
		return
	}
	d.observer.Snapshot(snapshot)
	d.last.Store(snapshot)
	now := time.Now()
	defer d.losses.check(now)
	// The ledger of a partial snapshot would not balance, and some active connections would be
	// missing. The next snapshot supersedes this one.
	if err != nil {
		return
	}
	d.observer.EndPass()
	d.ledger.SetKernel(snapshot.Ledger)
	if d.metrics != nil {
		d.metrics.publish(now)
	}
}

// finish detaches the programs, reads what is left and closes the kernel side.
func (d *drain) finish() {
	d.note("detach the kernel's hooks", d.kernel.Detach())
	deadline := time.Now().Add(d.flushTime)
	for {
		before := d.observer.Facts()
		err := d.kernel.Drain(time.Now())
		d.note("drain the kernel's last records", err)
		if err != nil || d.observer.Facts() == before || time.Now().After(deadline) {
			break
		}
	}
	d.snapshot()
	d.observer.Flush()
	d.note("close the kernel side", d.kernel.Close())
}

func (d *drain) note(attempted string, err error) {
	if err != nil {
		d.err = errors.Join(d.err, cleanlog.Error(fmt.Errorf("%s: %w", attempted, err)))
	}
}

// health reports a change of one of the two ways to read from the kernel.
func (d *drain) health(fails *bool, attempted string, err error) {
	failed := d.drainFails || d.snapshotFails
	*fails = err != nil
	switch {
	case err != nil:
		err = cleanlog.Error(fmt.Errorf("%s: %w", attempted, err))
		d.warn.log("reading from the kernel failed", zap.Error(err))
		if !failed {
			d.status.Failed(err)
		}
	case failed && !d.drainFails && !d.snapshotFails:
		d.status.Attached(d.kernel.Hooks())
	}
}
