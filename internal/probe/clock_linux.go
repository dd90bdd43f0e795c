// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// clock converts the boot clock, which hooks read, to wall time. The offset is
// refreshed because wall time is adjusted while the boot clock runs on.
type clock struct{ offset int64 }

func (c *clock) refresh() error {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return fmt.Errorf("read the boot clock: %w", err)
	}
	c.offset = time.Now().UnixNano() - boot.Nano()
	return nil
}

// monotonic reads the clock of bpf_ktime_get_ns, which stands still in suspend.
func monotonic() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("read the monotonic clock: %w", err)
	}
	return time.Duration(now.Nano()), nil
}

// boot is the boot clock's time.
func (c *clock) boot() uint64 { return uint64(time.Now().UnixNano() - c.offset) }

// unix converts nanoseconds of the boot clock to Unix nanoseconds.
func (c *clock) unix(boot uint64) int64 { return int64(boot) + c.offset }
