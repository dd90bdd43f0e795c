// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package guard

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// processEnv makes the test binary a process with a guard, which can be stopped and killed: its
// value is the mode, the interface, the blocked address, and how long blocks hold without it.
const processEnv = "EBPF_TCP_TEST_GUARD"

func TestMain(m *testing.M) {
	config := strings.Fields(os.Getenv(processEnv))
	if len(config) == 0 {
		goleak.VerifyTestMain(m)
		return
	}
	if err := runProcess(config); err != nil {
		fmt.Fprintln(os.Stderr, "process:", err)
		os.Exit(1)
	}
}

// runProcess renews the deadline until it is killed.
func runProcess(config []string) error {
	open, err := time.ParseDuration(config[3])
	if err != nil {
		return err
	}
	g, err := New(Options{
		IncludeInterfaces: []string{config[1]}, TCMode: tc.Mode(config[0]), IPv6Prefix: 64,
		Sources: 64, Networks: 64, Allowed: 64, FailOpenAfter: open,
		Managers: tc.ForProcess(), Logger: zap.NewNop(),
	})
	if err != nil {
		return err
	}
	if err := g.Start(); err != nil {
		return err
	}
	if err := g.Put(netip.MustParsePrefix(config[2]), Block{}); err != nil {
		return err
	}
	for begun := false; ; time.Sleep(open / 10) {
		if err := g.Renew(); err != nil {
			return err
		}
		if !begun {
			begun = true
			fmt.Println("started")
		}
	}
}
