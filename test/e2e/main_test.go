// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

const (
	// collectorVariable names the collector under test; the Makefile sets it.
	collectorVariable = "EBPF_TCP_COLLECTOR"

	// settle is how long a condition may take to become true, tick the time between two
	// checks of it.
	settle = lab.Settle
	tick   = 2 * lab.Tick
)

func TestMain(m *testing.M) {
	lab.Play(roles())
	if err := prerequisites(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// prerequisites fails rather than skips: a test that did not run proves nothing.
func prerequisites() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("root is needed: run make test")
	}
	path := os.Getenv(collectorVariable)
	if path == "" {
		return fmt.Errorf("%s must name the collector to test: run make test", collectorVariable)
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("collector to test: %w", err)
	}
	for _, tool := range []string{"ip", "ss", "tc", "nft", "nginx", "curl", "ab", "wrk", "haproxy", "openssl", "nmap", "hydra", "hping3", "sshd"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("make deps installs what is missing: %w", err)
		}
	}
	return nil
}

// run executes a program to its end and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	said, err := lab.Run(exec.CommandContext(ctx, name, args...))
	require.NoError(t, err)
	return said
}
