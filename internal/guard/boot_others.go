// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package guard

import "time"

// SinceBoot is 0: nothing is blocked here.
func SinceBoot() time.Duration { return 0 }
