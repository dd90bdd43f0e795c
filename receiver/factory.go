// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	rcvr "go.opentelemetry.io/collector/receiver"

	"github.com/ebpftcp/ebpftcpreceiver/internal/sharedcomponent"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

// NewFactory creates the factory of the ebpf_tcp receiver. Receivers of one configuration, for
// logs and for metrics, share one kernel side. The factory works on every system; on others
// than Linux, Start fails and says why.
func NewFactory() rcvr.Factory { return newFactory(hostEnvironment()) }

func newFactory(env environment) rcvr.Factory {
	f := &factory{env: env, shared: sharedcomponent.NewMap[*Config, *tcpReceiver]()}
	return rcvr.NewFactory(
		metadata.Type,
		func() component.Config { return createDefaultConfig() },
		rcvr.WithLogs(f.createLogs, metadata.LogsStability),
		rcvr.WithMetrics(f.createMetrics, metadata.MetricsStability),
	)
}

// factory keeps the receivers that are not shut down yet.
type factory struct {
	env    environment
	shared *sharedcomponent.Map[*Config, *tcpReceiver]
}

func (f *factory) createLogs(
	_ context.Context, set rcvr.Settings, cfg component.Config, next consumer.Logs,
) (rcvr.Logs, error) {
	r, err := f.receiver(set, cfg)
	if err != nil {
		return nil, err
	}
	r.Unwrap().logs = next
	return r, nil
}

func (f *factory) createMetrics(
	_ context.Context, set rcvr.Settings, cfg component.Config, next consumer.Metrics,
) (rcvr.Metrics, error) {
	r, err := f.receiver(set, cfg)
	if err != nil {
		return nil, err
	}
	r.Unwrap().metrics = next
	return r, nil
}

func (f *factory) receiver(set rcvr.Settings, cfg component.Config) (*sharedcomponent.Component[*tcpReceiver], error) {
	c, ok := cfg.(*Config)
	if !ok {
		return nil, fmt.Errorf("configuration of type %T, not of the ebpf_tcp receiver", cfg)
	}
	return f.shared.LoadOrCreate(c, func() (*tcpReceiver, error) { return newReceiver(c, set, f.env), nil })
}
