// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// Ports on loopback in the server's namespace, which no other process uses.
const (
	sinkPort           = 4317
	sinkTelemetryPort  = 8889
	agentTelemetryPort = 8888
	servedMetricsPort  = 9464
)

// collector is the one that is measured.
type collector struct{ *lab.Collector }

// startAgent runs the receiver with all defaults except for the given lines, which are
// indented by four. It sends the signals to the sink.
func startAgent(ctx context.Context, b *bench, in lab.Namespace, receiver string, signals ...string) (*collector, error) {
	return startAgentTo(ctx, b, in, receiver, "otlp_grpc", signals...)
}

// startServingAgent does the same, and also serves the metrics at servedMetricsPort on
// loopback.
func startServingAgent(ctx context.Context, b *bench, in lab.Namespace, receiver string) (*collector, error) {
	return startAgentTo(ctx, b, in, receiver, "otlp_grpc, prometheus", "logs", "metrics")
}

func startAgentTo(ctx context.Context, b *bench, in lab.Namespace, receiver, exporters string, signals ...string) (*collector, error) {
	pipelines := ""
	for _, signal := range signals {
		to := exporters
		if signal == "logs" {
			to = "otlp_grpc"
		}
		pipelines += fmt.Sprintf("    %s: {receivers: [ebpf_tcp], exporters: [%s]}\n", signal, to)
	}
	c, err := lab.StartCollector(ctx, lab.Launch{
		Program: b.collector, In: in, Telemetry: agentTelemetryPort,
		Configuration: fmt.Sprintf(`
receivers:
  ebpf_tcp:
%s
exporters:
  prometheus: {endpoint: "127.0.0.1:%d"}
%s
service:
  pipelines:
%s`, receiver, servedMetricsPort, exporterToSink(), pipelines),
	})
	if err != nil {
		return nil, err
	}
	return &collector{c}, nil
}

// atRest waits until the ledger balances with nothing queued, and meets a condition.
func (c *collector) atRest(ctx context.Context, condition func(lab.Ledger) bool) (lab.Ledger, error) {
	return c.Balance(ctx, func(b lab.Ledger) bool {
		for _, a := range b {
			if a.Queued != 0 {
				return false
			}
		}
		return condition(b)
	})
}

// sees waits until the receiver has found that many connections open.
func (c *collector) sees(ctx context.Context, connections float64) error {
	return c.Wait(ctx, "aware of all connections", func() (bool, error) {
		b, err := c.Ledger(ctx)
		return b["connection"].Active >= connections, err
	})
}

// memory is what a collector uses at one time, in bytes.
type memory struct{ resident, maps float64 }

func (c *collector) memory() (m memory, err error) {
	if m.resident, err = resident(c.PID()); err != nil {
		return m, err
	}
	m.maps, err = mapBytes(c.PID())
	return m, err
}

// most returns the greatest memory in use until the function returns.
func (c *collector) most(do func() error) (most memory, err error) {
	done := make(chan error)
	go func() { done <- do() }()
	for {
		now, err := c.memory()
		if err != nil {
			return most, errors.Join(err, <-done)
		}
		most.resident, most.maps = max(most.resident, now.resident), max(most.maps, now.maps)
		select {
		case err := <-done:
			return most, err
		case <-time.After(2 * lab.Tick):
		}
	}
}

// exporterToSink is the exporter of all collectors.
func exporterToSink() string {
	return fmt.Sprintf(`  otlp_grpc:
    endpoint: 127.0.0.1:%d
    tls: {insecure: true}
    compression: none
    sending_queue: {block_on_overflow: true}`, sinkPort)
}
