// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"slices"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/screen"
)

// Internals are what the receiver says of itself: its hooks, and what it lost.
type Internals struct {
	reader   *sdk.ManualReader
	provider *sdk.MeterProvider

	mu    sync.Mutex
	hooks []screen.Hook
}

// NewInternals returns internals for the settings of one run.
func NewInternals() *Internals {
	reader := sdk.NewManualReader()
	return &Internals{reader: reader, provider: sdk.NewMeterProvider(sdk.WithReader(reader))}
}

// meters returns where the receiver's internal metrics go. Nobody may ask for them.
func (i *Internals) meters() metric.MeterProvider {
	if i == nil {
		return noop.NewMeterProvider()
	}
	return i.provider
}

// hookPrefix begins the attributes of the component's status that are about hooks.
const hookPrefix = "hook."

// note keeps the states of hooks that the component's status has.
func (i *Internals) note(event *componentstatus.Event) {
	if i == nil || event.Attributes().Len() == 0 {
		return
	}
	var hooks []screen.Hook
	for key, value := range event.Attributes().All() {
		name, ours := strings.CutPrefix(key, hookPrefix)
		if !ours {
			continue
		}
		missing := ""
		if state := value.AsString(); state != "attached" {
			missing = clean.String(state)
		}
		hooks = append(hooks, screen.Hook{Name: name, Missing: missing})
	}
	slices.SortFunc(hooks, func(a, b screen.Hook) int { return strings.Compare(a.Name, b.Name) })
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hooks = hooks
}

// Read returns the hooks, and what was lost so far.
func (i *Internals) Read(ctx context.Context) ([]screen.Hook, []screen.Loss) {
	var found metricdata.ResourceMetrics
	var losses []screen.Loss
	// A metric that can't be read is absent.
	_ = i.reader.Collect(context.WithoutCancel(ctx), &found)
	for _, scope := range found.ScopeMetrics {
		for _, m := range scope.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok && strings.HasSuffix(m.Name, "ebpf_tcp_lost") {
				losses = append(losses, lossesOf(sum)...)
			}
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.hooks), losses
}

func lossesOf(sum metricdata.Sum[int64]) []screen.Loss {
	var losses []screen.Loss
	for _, point := range sum.DataPoints {
		if point.Value == 0 {
			continue
		}
		get := func(key attribute.Key) string {
			value, _ := point.Attributes.Value(key)
			return value.String()
		}
		losses = append(losses, screen.Loss{Event: get("event"), Place: get("place"), Reason: get("reason"), Count: point.Value})
	}
	return losses
}
