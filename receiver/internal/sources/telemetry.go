// SPDX-License-Identifier: Apache-2.0

package sources

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

// telemetry observes the figures of the last snapshot, if it has any.
type telemetry struct {
	last       func() *probe.Snapshot
	attributes func(...attribute.KeyValue) metric.MeasurementOption
}

// Register sets the callbacks of the internal metrics about sources. last returns the last
// snapshot or nil, attributes adds what identifies the receiver.
func Register(b *metadata.TelemetryBuilder, last func() *probe.Snapshot, attributes func(...attribute.KeyValue) metric.MeasurementOption) error {
	t := telemetry{last, attributes}
	return errors.Join(
		b.RegisterEbpfTCPSourcesEnteredCallback(t.entered),
		b.RegisterEbpfTCPSourcesRefusedCallback(t.refused),
		b.RegisterEbpfTCPSourcesSketchUtilizationCallback(t.utilization),
	)
}

// figures is nil unless sources are counted and were read.
func (t telemetry) figures() *probe.SourceFigures {
	if snapshot := t.last(); snapshot != nil {
		return snapshot.Sources
	}
	return nil
}

func (t telemetry) entered(_ context.Context, o metric.Int64Observer) error {
	if f := t.figures(); f != nil {
		o.Observe(int64(f.Entered), t.attributes(attribute.String("entry", "at_once")))
		o.Observe(int64(f.Promoted), t.attributes(attribute.String("entry", "promoted")))
	}
	return nil
}

func (t telemetry) refused(_ context.Context, o metric.Int64Observer) error {
	if f := t.figures(); f != nil {
		o.Observe(int64(f.Full), t.attributes(attribute.String("reason", "map_full")))
		o.Observe(int64(f.Share), t.attributes(attribute.String("reason", "map_share")))
	}
	return nil
}

func (t telemetry) utilization(_ context.Context, o metric.Float64Observer) error {
	if f := t.figures(); f != nil {
		o.Observe(f.Crowded, t.attributes())
	}
	return nil
}
