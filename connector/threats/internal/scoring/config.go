// SPDX-License-Identifier: Apache-2.0

package scoring

import (
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fault"
)

// DefaultAnomaly is off.
func DefaultAnomaly() AnomalyConfig {
	return AnomalyConfig{WarmUp: time.Hour, Threshold: 2}
}

// DefaultWindow is how long the records of a source are one vector.
const DefaultWindow = 10 * time.Second

// Bounds of the configuration, both ends allowed.
const (
	maxWarmUp                  = 31 * 24 * time.Hour
	minThreshold, maxThreshold = 1e-3, 1e6
)

// Validate notes every fault, with its key.
func (c *AnomalyConfig) Validate(f *fault.Faults) {
	fault.InRange(f, "anomaly::warm_up", c.WarmUp, 0, maxWarmUp)
	fault.InRange(f, "anomaly::threshold", c.Threshold, minThreshold, maxThreshold)
}
