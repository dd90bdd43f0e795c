// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// nobody is a user without any rights of its own.
const nobody = "1000"

// leastSet has bit n for capability n, as /proc and files have sets.
func leastSet() uint64 {
	var set uint64
	for _, use := range capability.Uses() {
		if use.Required {
			set |= 1 << use.Capability
		}
	}
	return set
}

// onlyLeast is how setpriv writes a set: only those.
func onlyLeast() string {
	list := "-all"
	for _, use := range capability.Uses() {
		if use.Required {
			list += ",+" + strings.ToLower(strings.TrimPrefix(use.Capability.String(), "CAP_"))
		}
	}
	return list
}

// runAs makes the collector under test one that setpriv(1) runs with these options.
// It returns the executable, which everybody may run.
func runAs(t *testing.T, options ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ebpf-tcp-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	program, wrapper := filepath.Join(dir, "otelcol-ebpf-tcp"), filepath.Join(dir, "wrapper")
	run(t, "install", "-m", "755", os.Getenv(collectorVariable), program)
	script := fmt.Sprintf("#!/bin/sh\ninstall -m 644 \"$2\" %[1]s/config.yaml && shift 2 &&\nexec setpriv %[2]s -- %[3]s --config %[1]s/config.yaml \"$@\"\n",
		dir, strings.Join(options, " "), program)
	require.NoError(t, os.WriteFile(wrapper, []byte(script), 0o755))
	t.Setenv(collectorVariable, wrapper)
	return program
}

// TestLeastPrivilege runs the collector in each of the ways that deploy/ uses or
// explains. None gives it more than three capabilities.
func TestLeastPrivilege(t *testing.T) {
	user := []string{"--reuid=" + nobody, "--regid=" + nobody, "--clear-groups"}
	bounded := []string{"--no-new-privs", "--bounding-set=" + onlyLeast()}
	tests := []struct {
		name string
		uid  string
		// files gives the capabilities to the executable's file.
		files   bool
		options []string
	}{
		{
			name: "ambient, as systemd", uid: nobody,
			options: append(append(user, bounded...), "--inh-caps="+onlyLeast(), "--ambient-caps="+onlyLeast()),
		},
		{name: "root with nothing else, as Kubernetes", uid: "0", options: append(bounded, "--inh-caps=-all")},
		{
			name: "of the file", uid: nobody, files: true,
			options: append(user, "--bounding-set="+onlyLeast(), "--inh-caps=-all"),
		},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			port := 28160 + i
			n := newNetwork(t)
			server := n.server.startServer(t, port)
			id := containerID(t)
			joinContainer(t, id, server)
			out := startSink(t, n.server)
			program := runAs(t, test.options...)
			if test.files {
				setFileCapabilities(t, program, leastSet())
			}
			agent := startAgent(t, out.endpoint, agentSettings{in: n.server})
			status, err := lab.Status(agent.PID())
			require.NoError(t, err)
			assert.Equal(t, test.uid, strings.Fields(status["Uid"])[1])
			assert.Equal(t, fmt.Sprintf("%016x", leastSet()), status["CapEff"])

			c := n.client.dial(t, n.At(port))
			c.do(step{Ask: ask{Reply: 5000, Then: fin}, Pad: 100}).do(step{End: eof})
			require.Eventually(t, func() bool {
				return len(out.records(t, at("tcp.server.connection.close", port))) == 1
			}, settle, tick, "no close arrives")
			closed := out.records(t, at("tcp.server.connection.close", port))[0]
			assert.InDelta(t, c.Sent, closed.number(t, "tcp.receive.size"), 0)
			assert.InDelta(t, c.Received, closed.number(t, "tcp.transmit.size"), 0)
			assert.Equal(t, self(), closed.values["process.executable.name"])
			assert.InDelta(t, server.PID(), closed.number(t, "process.pid"), 0)
			assert.Equal(t, id, closed.values["container.id"])
			require.Eventually(t, func() bool {
				return len(out.points(t, func(p point) bool { return p.metric == "tcp.server.packets" && p.value > 0 })) > 0
			}, settle, tick, "no packets are counted")
			checkComplaints(t, agent)
		})
	}
}

// checkComplaints: one line for each thing that is lost, with what would give it.
func checkComplaints(t *testing.T, agent *collector) {
	t.Helper()
	told := map[string]bool{}
	for line := range strings.Lines(agent.complaints()) {
		if !strings.Contains(line, "a hook of the kernel is missing") {
			continue
		}
		_, lost, _ := strings.Cut(line, `"lost": `)
		lost, _, _ = strings.Cut(lost, `", `)
		assert.NotContains(t, told, lost, "told twice")
		told[lost] = true
		assert.NotContains(t, line, "MEMLOCK")
	}
}

// TestNoPrivilege: a collector that can do nothing says what it needs, and ends.
func TestNoPrivilege(t *testing.T) {
	runAs(t, "--reuid="+nobody, "--regid="+nobody, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, []byte(`
receivers: {ebpf_tcp: }
exporters: {debug: }
service:
  telemetry: {metrics: {level: none}}
  pipelines: {logs: {receivers: [ebpf_tcp], exporters: [debug]}}
`), 0o600))
	said, err := exec.Command(os.Getenv(collectorVariable), "--config", config).CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Contains(t, string(said), "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are missing: operation not permitted")
}

// setFileCapabilities is setcap(8) with =ep; the format is vfs_cap_data, revision 2.
func setFileCapabilities(t *testing.T, path string, set uint64) {
	t.Helper()
	const revision2, effective = 0x02000000, 1
	var data [20]byte
	binary.LittleEndian.PutUint32(data[0:], revision2|effective)
	binary.LittleEndian.PutUint32(data[4:], uint32(set))
	binary.LittleEndian.PutUint32(data[12:], uint32(set>>32))
	require.NoError(t, unix.Setxattr(path, "security.capability", data[:], 0))
}

// TestDeploymentsAreValid asks the collector itself.
func TestDeploymentsAreValid(t *testing.T) {
	text, err := os.ReadFile("../../deploy/kubernetes/daemonset.yaml")
	require.NoError(t, err)
	var configMap struct{ Data map[string]string }
	for documents := yaml.NewDecoder(bytes.NewReader(text)); configMap.Data == nil; {
		require.NoError(t, documents.Decode(&configMap), "no ConfigMap in the manifest")
	}
	kubernetes := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(kubernetes, []byte(configMap.Data["config.yaml"]), 0o600))
	for _, config := range []string{"../../deploy/systemd/config.yaml", kubernetes} {
		cmd := exec.Command(os.Getenv(collectorVariable), "validate", byStatus, "--config", config)
		// What systemd and the manifest set.
		cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+t.TempDir(), "K8S_NODE_NAME=node", "POD_IP=127.0.0.1",
			"OTEL_EXPORTER_OTLP_ENDPOINT=127.0.0.1:4317")
		said, err := cmd.CombinedOutput()
		assert.NoError(t, err, "%s: %s", config, said)
	}
}
