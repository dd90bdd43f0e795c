// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	kernelBTF = "/sys/kernel/btf/vmlinux"
	// byStatus lets the health check extension answer by component status.
	byStatus = "--feature-gates=+extension.healthcheck.useComponentStatus"
)

// onKernelWithout hides a member of a kernel struct from the collector under test, by a copy of
// the kernel's BTF with another name for it. "" hides the BTF altogether.
func onKernelWithout(t *testing.T, member string) {
	t.Helper()
	dir := t.TempDir()
	mount := "mount -t tmpfs none /sys/kernel/btf"
	if member != "" {
		types, err := os.ReadFile(kernelBTF)
		require.NoError(t, err)
		// Names end with a zero, and the table of names begins with one.
		name, other := "\x00"+member+"\x00", "\x00"+strings.Repeat("x", len(member))+"\x00"
		require.Equal(t, 1, bytes.Count(types, []byte(name)), member)
		made := filepath.Join(dir, "vmlinux")
		require.NoError(t, os.WriteFile(made, bytes.Replace(types, []byte(name), []byte(other), 1), 0o600))
		mount = "mount --bind " + made + " " + kernelBTF
	}
	wrapper := filepath.Join(dir, "wrapper")
	script := fmt.Sprintf("#!/bin/sh\n[ -n \"$hidden\" ] || { export hidden=1; exec unshare --mount \"$0\" \"$@\"; }\n%s && exec %s %s \"$@\"\n",
		mount, os.Getenv(collectorVariable), byStatus)
	require.NoError(t, os.WriteFile(wrapper, []byte(script), 0o700))
	t.Setenv(collectorVariable, wrapper)
}

// health asks the extension.
func health(t *testing.T, in namespace, port int) (int, map[string]any) {
	t.Helper()
	text := in.run(t, "curl", "-sS", "--max-time", "5", "-w", "\\n%{http_code}", fmt.Sprintf("http://127.0.0.1:%d/health", port))
	answer, code, _ := strings.Cut(text, "\n")
	status, err := strconv.Atoi(strings.TrimSpace(code))
	require.NoError(t, err, text)
	body := map[string]any{}
	require.NoError(t, json.Unmarshal([]byte(answer), &body), text)
	return status, body
}

// missingConfig has a pipeline of another receiver beside ours.
func missingConfig(endpoint, receiver string, health, otlp int) string {
	return fmt.Sprintf(`
receivers:
  ebpf_tcp:
    collection_interval: 1s
%s
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:%d"}}}
exporters:
  otlp_grpc: {endpoint: "%s", tls: {insecure: true}, compression: none}
extensions:
  health_check:
    http: {endpoint: "127.0.0.1:%d", status: {path: /health, include_attributes: true}}
    component_health: {include_permanent_errors: true}
service:
  extensions: [health_check]
  pipelines:
    logs: {receivers: [ebpf_tcp], exporters: [otlp_grpc]}
    metrics: {receivers: [ebpf_tcp], exporters: [otlp_grpc]}
    logs/other: {receivers: [otlp], exporters: [otlp_grpc]}
`, receiver, otlp, endpoint, health)
}

// TestMissingCore: if connections can't be observed, the health check fails and names the cause,
// and other pipelines run. With on_missing: fail the collector does not start.
func TestMissingCore(t *testing.T) {
	for _, test := range []struct{ name, member, cause string }{
		{"no BTF", "", "this kernel has no BTF"},
		{"a member of the core", "skc_dport", "this kernel's sock_common has no member skc_dport"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := startSink(t, namespace{})
			onKernelWithout(t, test.member)
			healthPort, otlpPort := freePort(t), freePort(t)
			agent := startCollector(t, namespace{}, "agent", missingConfig(out.endpoint, "    tc: {mode: auto}", healthPort, otlpPort))
			status, body := health(t, namespace{}, healthPort)
			assert.Equal(t, http.StatusInternalServerError, status)
			assert.Contains(t, body["error"], "can't give tcp.server.connection.close")
			assert.Contains(t, body["error"], test.cause)
			assert.Contains(t, agent.said(), "this kernel can't provide what the configuration asks for")
			assert.NotContains(t, agent.said(), "goroutine")
			agent.stop()

			config := filepath.Join(t.TempDir(), "config.yaml")
			require.NoError(t, os.WriteFile(config, []byte(missingConfig(out.endpoint, "    on_missing: fail", healthPort, otlpPort)), 0o600))
			said, err := exec.Command(os.Getenv(collectorVariable), "--config", config).CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "%s", said)
			assert.Contains(t, string(said), test.cause)
		})
	}
}

// TestMissingDecoration: what only decorates a record costs its attribute.
func TestMissingDecoration(t *testing.T) {
	for i, test := range []struct{ member, attribute string }{
		{"rcv_ooopack", "tcp.out_of_order.count"},
		{"sk_err_soft", ""},
		{"sk_drops", ""},
		{"dfl_cgrp", "container.id"},
	} {
		t.Run(test.member, func(t *testing.T) {
			port := 28190 + i
			n := newNetwork(t)
			n.server.startServer(t, port)
			out := startSink(t, n.server)
			onKernelWithout(t, test.member)
			agent := startAgent(t, out.endpoint, agentSettings{in: n.server})
			c := n.client.dial(t, n.At(port))
			c.do(step{Ask: ask{Reply: 5000, Then: fin}, Pad: 100}).do(step{End: eof})
			require.Eventually(t, func() bool {
				return len(out.records(t, at("tcp.server.connection.close", port))) == 1
			}, settle, tick, "no close arrives")
			closed := out.records(t, at("tcp.server.connection.close", port))[0]
			assert.InDelta(t, c.Sent, closed.number(t, "tcp.receive.size"), 0)
			assert.InDelta(t, c.Received, closed.number(t, "tcp.transmit.size"), 0)
			assert.NotContains(t, closed.values, test.attribute)
			assert.Contains(t, agent.complaints(), "has no member "+test.member)
		})
	}
}

// TestTooFewDescriptors: the limit is named, and no kernel version.
func TestTooFewDescriptors(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, []byte(`
receivers: {ebpf_tcp: }
exporters: {debug: }
service:
  telemetry: {metrics: {level: none}}
  pipelines: {logs: {receivers: [ebpf_tcp], exporters: [debug]}}
`), 0o600))
	for _, limit := range []int{48, 100} {
		said, err := exec.Command("prlimit", fmt.Sprintf("--nofile=%[1]d:%[1]d", limit),
			os.Getenv(collectorVariable), "--config", config).CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", said)
		assert.Contains(t, string(said), fmt.Sprintf("RLIMIT_NOFILE is too low: it allows %d open files", limit))
		assert.NotContains(t, string(said), "requires")
	}
}
