// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/sharedcomponent"
)

// clock is the wall clock, in nanoseconds since 1970.
type clock func() int64

func hostClock() clock { return func() int64 { return time.Now().UnixNano() } }

// toLogs and toMetrics are the two ends that a pipeline sees. Each gets every record, so only one
// of them reads.
type (
	toLogs struct {
		*sharedcomponent.Component[*judge]
	}
	toMetrics struct {
		*sharedcomponent.Component[*judge]
	}
)

// Capabilities: the records go on untouched.
func (*toLogs) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeLogs judges the records.
func (c *toLogs) ConsumeLogs(_ context.Context, logs plog.Logs) error {
	c.Unwrap().read(logs)
	return nil
}

// Capabilities: the records go on untouched.
func (*toMetrics) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeLogs judges the records if the connector has no end to logs, which would have judged
// them.
func (c *toMetrics) ConsumeLogs(_ context.Context, logs plog.Logs) error {
	if c.Unwrap().logs == nil {
		c.Unwrap().read(logs)
	}
	return nil
}
