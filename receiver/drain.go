// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// maxDrain bounds one Drain, and so the time that a shutdown waits for it.
const maxDrain = 250 * time.Millisecond

// kernel is the kernel side as the receiver uses it; a *probe.Probe, or a fake in
// tests. It is used by one goroutine at a time.
type kernel interface {
	Start(fact.Sink) error
	Drain(until time.Time) error
	Snapshot(visit func(*connection.Live)) (*probe.Snapshot, error)
	OwnNetNS() uint32
	Hooks() []probe.HookState
	MapBytes() (uint64, error)
	Detach() error
	Close() error
}

var _ kernel = (*probe.Probe)(nil)

// drain is the goroutine that owns the kernel side: it reads records all the time
// and a snapshot every interval.
type drain struct {
	kernel   kernel
	handler  *handler
	books    *ledger.Ledger
	interval time.Duration
	maxAge   time.Duration
	// flushTime bounds the last drain.
	flushTime time.Duration
	status    *status
	warn      *limitedWarning
	losses    *lossWatch
	// publish takes the metrics after a snapshot.
	publish func(time.Time)
	last    *atomic.Pointer[probe.Snapshot]
	// drainFails and snapshotFails are set while reading fails.
	drainFails, snapshotFails bool
	// err is what went wrong at the end; read it after finished.
	err      error
	finished chan struct{}
}

// run drains until stop is closed, then reads what is left and closes the kernel
// side.
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
		// What would be too old after the next drain goes now.
		d.handler.flushOlder(now.Add(slice - d.maxAge))
		if !now.Before(next) {
			d.snapshot()
			if next = next.Add(d.interval); next.Before(now) {
				next = now.Add(d.interval)
			}
		}
	}
}

// pause waits, so that a drain that fails at once does not spin.
func pause(until time.Time, stop <-chan struct{}) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	}
}

func (d *drain) snapshot() {
	d.handler.beginPass()
	snapshot, err := d.kernel.Snapshot(d.handler.live)
	d.health(&d.snapshotFails, "read the kernel's maps", err)
	if snapshot == nil {
		return
	}
	d.handler.snapshot(snapshot)
	d.last.Store(snapshot)
	now := time.Now()
	defer d.losses.check(now)
	// Books in part would not balance, and connections in part are not those that
	// are active: the next snapshot supersedes this one.
	if err != nil {
		return
	}
	d.handler.endPass()
	d.books.SetKernel(snapshot.Ledger)
	d.publish(now)
}

// finish takes the programs off the kernel, reads what is left and lets go.
func (d *drain) finish() {
	d.note("detach the kernel's hooks", d.kernel.Detach())
	deadline := time.Now().Add(d.flushTime)
	for {
		before := d.handler.facts
		err := d.kernel.Drain(time.Now())
		d.note("drain the kernel's last records", err)
		if err != nil || d.handler.facts == before || time.Now().After(deadline) {
			break
		}
	}
	d.snapshot()
	d.handler.flush()
	d.note("close the kernel side", d.kernel.Close())
}

func (d *drain) note(attempted string, err error) {
	if err != nil {
		d.err = errors.Join(d.err, cleaned(fmt.Errorf("%s: %w", attempted, err)))
	}
}

// health reports a change of one of the two ways to read from the kernel.
func (d *drain) health(fails *bool, attempted string, err error) {
	failed := d.drainFails || d.snapshotFails
	*fails = err != nil
	switch {
	case err != nil:
		err = cleaned(fmt.Errorf("%s: %w", attempted, err))
		d.warn.log("reading from the kernel failed", zap.Error(err))
		if !failed {
			d.status.failed(err)
		}
	case failed && !d.drainFails && !d.snapshotFails:
		d.status.hooks(d.kernel.Hooks())
	}
}
