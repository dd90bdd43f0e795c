// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

// Package clock converts the times that BPF programs read.
package clock

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/timens"
)

// Clock converts the boot clock, which hooks read, to wall time. Wall time is adjusted while
// the boot clock runs on, so Refresh has to be called now and then.
type Clock struct {
	offset int64
	// suspended is how long the monotonic clock stood still, which the boot clock did not.
	suspended int64
	// namespace holds how this process's time namespace shifts its clocks. Hooks read the
	// clocks of the initial one. It is nil before the first Refresh, and never changes.
	namespace *timens.Offsets
}

// Refresh compares the two clocks.
func (c *Clock) Refresh() error {
	if c.namespace == nil {
		offsets, err := readOffsets()
		if err != nil {
			return err
		}
		c.namespace = &offsets
	}
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return fmt.Errorf("read the boot clock: %w", err)
	}
	c.offset = time.Now().UnixNano() - (boot.Nano() - int64(c.namespace.Boottime))
	var monotonic unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &monotonic); err != nil {
		return fmt.Errorf("read the monotonic clock: %w", err)
	}
	// An interruption between the two reads makes the difference smaller than it is, and no suspend
	// is ever undone. So the greatest one is the best.
	c.suspended = max(c.suspended, boot.Nano()-int64(c.namespace.Boottime)-(monotonic.Nano()-int64(c.namespace.Monotonic)))
	return nil
}

// Boot is the boot clock's time now, in nanoseconds.
func (c *Clock) Boot() uint64 { return uint64(time.Now().UnixNano() - c.offset) }

// Unix converts nanoseconds of the boot clock to Unix nanoseconds.
func (c *Clock) Unix(boot uint64) int64 { return int64(boot) + c.offset }

// FromMonotonic converts nanoseconds of the monotonic clock to Unix nanoseconds.
func (c *Clock) FromMonotonic(monotonic uint64) int64 { return c.Unix(monotonic) + c.suspended }

// Monotonic reads the clock of bpf_ktime_get_ns, which stands still in suspend.
func Monotonic() (time.Duration, error) {
	offsets, err := readOffsets()
	if err != nil {
		return 0, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("read the monotonic clock: %w", err)
	}
	return time.Duration(now.Nano()) - offsets.Monotonic, nil
}

func readOffsets() (timens.Offsets, error) {
	offsets, err := timens.Read(os.DirFS("/"))
	if err != nil {
		return timens.Offsets{}, fmt.Errorf("convert the kernel's clock: %w", err)
	}
	return offsets, nil
}
