// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/timens"
)

// clock converts the boot clock, which hooks read, to wall time. The offset is
// refreshed because wall time is adjusted while the boot clock runs on.
type clock struct {
	offset int64
	// namespace is how this process's time namespace shifts its clocks; hooks read
	// those of the initial one. nil before the first refresh: it never changes.
	namespace *timens.Offsets
}

func (c *clock) refresh() error {
	if c.namespace == nil {
		offsets, err := clockOffsets()
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
	return nil
}

func clockOffsets() (timens.Offsets, error) {
	offsets, err := timens.Read(os.DirFS("/"))
	if err != nil {
		return timens.Offsets{}, fmt.Errorf("convert the kernel's clock: %w", err)
	}
	return offsets, nil
}

// monotonic reads the clock of bpf_ktime_get_ns, which stands still in suspend.
func monotonic() (time.Duration, error) {
	offsets, err := clockOffsets()
	if err != nil {
		return 0, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("read the monotonic clock: %w", err)
	}
	return time.Duration(now.Nano()) - offsets.Monotonic, nil
}

// boot is the boot clock's time.
func (c *clock) boot() uint64 { return uint64(time.Now().UnixNano() - c.offset) }

// unix converts nanoseconds of the boot clock to Unix nanoseconds.
func (c *clock) unix(boot uint64) int64 { return int64(boot) + c.offset }
