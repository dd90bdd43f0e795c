// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/sharedcomponent"
)

// toLogs and toMetrics are the two ends that a pipeline sees. Each gets every record, so only one
// of them reads.
type (
	toLogs struct {
		*sharedcomponent.Component[*keeper]
	}
	toMetrics struct {
		*sharedcomponent.Component[*keeper]
	}
)

// Capabilities: the records are not changed.
func (*toLogs) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeLogs decides on the records.
func (c *toLogs) ConsumeLogs(_ context.Context, logs plog.Logs) error {
	c.Unwrap().read(logs)
	return nil
}

// Capabilities: the records are not changed.
func (*toMetrics) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeLogs decides on the records if the connector has no end to logs, which would have read
// them.
func (c *toMetrics) ConsumeLogs(_ context.Context, logs plog.Logs) error {
	if c.Unwrap().logs == nil {
		c.Unwrap().read(logs)
	}
	return nil
}
