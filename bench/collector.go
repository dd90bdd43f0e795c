// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Ports on loopback in the server's namespace, where nobody else is.
const (
	sinkPort           = 4317
	sinkTelemetryPort  = 8889
	agentTelemetryPort = 8888
	servedMetricsPort  = 9464
)

// collector is a running collector, or what stands for one.
type collector struct {
	*process
	in        namespace
	telemetry int
	folder    string
}

// startCollector waits until the pipelines run. configuration lacks only the telemetry
// section, which comes last.
func startCollector(ctx context.Context, b *bench, in namespace, configuration string, telemetry int) (*collector, error) {
	folder, err := os.MkdirTemp("", "ebpf-tcp-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for a configuration: %w", err)
	}
	c := &collector{in: in, telemetry: telemetry, folder: folder}
	configuration += fmt.Sprintf(`
  telemetry:
    metrics:
      level: normal
      readers:
        - pull: {exporter: {prometheus: {host: 127.0.0.1, port: %d}}}
`, telemetry)
	path := filepath.Join(folder, "config.yaml")
	log := filepath.Join(folder, "log")
	output, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("make a log: %w", err)
	}
	defer output.Close()
	if err := os.WriteFile(path, []byte(configuration), 0o600); err != nil {
		return nil, fmt.Errorf("write a configuration: %w", err)
	}
	cmd := in.command(b.collector, "--config", path)
	cmd.Stdout, cmd.Stderr = output, output
	if c.process, err = start(cmd); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	err = c.wait(ctx, "ready", func() (bool, error) {
		text, err := os.ReadFile(log)
		return strings.Contains(string(text), "Everything is ready"), err
	})
	if err != nil {
		text, _ := os.ReadFile(log)
		return nil, errors.Join(err, errors.New(string(text)), c.close())
	}
	return c, nil
}

// close stops the collector. It may be called again.
func (c *collector) close() error {
	return errors.Join(c.stop(syscall.SIGTERM), os.RemoveAll(c.folder))
}

// startSink runs what the agent sends to.
func startSink(ctx context.Context, _ *bench, in namespace) (*collector, error) {
	a, err := act(ctx, in, "sink")
	if err != nil {
		return nil, err
	}
	return &collector{process: a.process, in: in, telemetry: sinkTelemetryPort}, nil
}

// startAgent runs the receiver with all defaults, but for the given lines, which are
// indented by four, and sends the signals to the sink.
func startAgent(ctx context.Context, b *bench, in namespace, receiver string, signals ...string) (*collector, error) {
	return startAgentTo(ctx, b, in, receiver, "otlp_grpc", signals...)
}

// startServingAgent runs the receiver likewise, and has its metrics at servedMetricsPort
// of loopback, too.
func startServingAgent(ctx context.Context, b *bench, in namespace, receiver string) (*collector, error) {
	return startAgentTo(ctx, b, in, receiver, "otlp_grpc, prometheus", "logs", "metrics")
}

func startAgentTo(ctx context.Context, b *bench, in namespace, receiver, exporters string, signals ...string) (*collector, error) {
	pipelines := ""
	for _, signal := range signals {
		to := exporters
		if signal == "logs" {
			to = "otlp_grpc"
		}
		pipelines += fmt.Sprintf("    %s: {receivers: [ebpf_tcp], exporters: [%s]}\n", signal, to)
	}
	return startCollector(ctx, b, in, fmt.Sprintf(`
receivers:
  ebpf_tcp:
%s
exporters:
  prometheus: {endpoint: "127.0.0.1:%d"}
  otlp_grpc:
    endpoint: 127.0.0.1:%d
    tls: {insecure: true}
    compression: none
    sending_queue: {block_on_overflow: true}
service:
  pipelines:
%s`, receiver, servedMetricsPort, sinkPort, pipelines), agentTelemetryPort)
}
