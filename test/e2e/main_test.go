// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const (
	// collectorVariable names the collector under test; the Makefile sets it.
	collectorVariable = "EBPF_TCP_COLLECTOR"
	// roleVariable turns this test binary into a client or server, see roles.
	roleVariable = "EBPF_TCP_E2E_ROLE"

	// settle is how long something that must come true may take.
	settle = 30 * time.Second
	// tick is how often it is looked at.
	tick = 100 * time.Millisecond
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role, os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
			os.Exit(1)
		}
		return
	}
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
	for _, tool := range []string{"ip", "ss", "tc", "nft", "nginx", "curl", "ab"} {
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
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	require.NoError(t, err, "%s %s\n%s%s", name, strings.Join(args, " "), &stdout, &stderr)
	return stdout.String()
}
