// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package backends

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

const (
	// collectorVariable names the collector under test, toolsVariable the folder of the
	// backends; the Makefile sets both.
	collectorVariable = "EBPF_TCP_COLLECTOR"
	toolsVariable     = "EBPF_TCP_BACKENDS_BIN"

	// settle is how long a condition may take to become true, tick the time between two checks.
	settle = lab.Settle
	tick   = 4 * lab.Tick
)

func TestMain(m *testing.M) {
	lab.Play(roles())
	if err := prerequisites(); err != nil {
		fmt.Fprintln(os.Stderr, "backends:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// prerequisites fails rather than skips: a test that did not run proves nothing.
func prerequisites() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("root is needed: run make test-backends")
	}
	if _, err := os.Stat(os.Getenv(collectorVariable)); err != nil {
		return fmt.Errorf("%s must name the collector to test: %w", collectorVariable, err)
	}
	for _, tool := range []string{"victoria-metrics", "victoria-logs", "prometheus", "promtool"} {
		if _, err := os.Stat(program(tool)); err != nil {
			return fmt.Errorf("%s must name the folder of the backends: %w", toolsVariable, err)
		}
	}
	return nil
}

// program is the path of a backend or a tool.
func program(name string) string { return filepath.Join(os.Getenv(toolsVariable), name) }

// freePorts are loopback ports that nobody listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for port := 21000; port < 28000 && len(ports) < n; port++ {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			require.NoError(t, listener.Close())
			ports = append(ports, port)
		}
	}
	require.Len(t, ports, n)
	return ports
}

// eventually waits until a condition holds, and fails the test with what it last said.
func eventually(t *testing.T, what string, holds func() (bool, string)) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(settle); time.Now().Before(deadline); time.Sleep(tick) {
		ok, said := holds()
		if ok {
			return
		}
		last = said
	}
	t.Fatalf("%s: not within %s: %s", what, settle, last)
}
