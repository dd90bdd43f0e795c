// SPDX-License-Identifier: Apache-2.0

package check

import (
	"os"
	"time"

	"go.opentelemetry.io/collector/config/configretry"
)

// Bounds of retry_on_failure and of ring buffers, both ends allowed.
const (
	minRetryInterval, maxRetryInterval = time.Millisecond, time.Hour
	maxElapsedTime                     = 24 * time.Hour
	minMultiplier, maxMultiplier       = 1.0, 10.0
	maxRingBytes                       = 1 << 30
)

// Retry checks the section retry_on_failure, unless it is off.
func Retry(f *Faults, r *configretry.BackOffConfig) {
	if !r.Enabled {
		return
	}
	InRange(f, "retry_on_failure::initial_interval", r.InitialInterval, minRetryInterval, maxRetryInterval)
	InRange(f, "retry_on_failure::max_interval", r.MaxInterval, minRetryInterval, maxRetryInterval)
	InRange(f, "retry_on_failure::multiplier", r.Multiplier, minMultiplier, maxMultiplier)
	InRange(f, "retry_on_failure::randomization_factor", r.RandomizationFactor, 0, 1)
	InRange(f, "retry_on_failure::max_elapsed_time", r.MaxElapsedTime, 0, maxElapsedTime)
}

// RingBytes checks the size of a ring buffer: a power of two, and whole pages.
func RingBytes(f *Faults, key string, bytes int) {
	InRange(f, key, bytes, os.Getpagesize(), maxRingBytes)
	if bytes > 0 && bytes&(bytes-1) != 0 {
		f.Add(key, "%d is not a power of two", bytes)
	}
}
