// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"time"

	"golang.org/x/sys/unix"
)

// SinceBoot is the time since the host started, suspended time included. No step of the wall
// clock changes it.
func SinceBoot() time.Duration {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		panic(err) // every Linux has this clock
	}
	return time.Duration(boot.Nano())
}
