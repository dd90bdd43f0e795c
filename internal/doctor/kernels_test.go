// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package doctor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver"
)

// The kernels that golden files exist for, by their release.
var knownKernel = regexp.MustCompile(`^(\d+\.\d+)\..*-(cloud-amd64|cloud-arm64|fc)\b`)

// TestKernel holds the diagnosis of a known kernel to its golden file, and that of any
// other to what must work everywhere, with every way that a configuration can allow.
func TestKernel(t *testing.T) {
	enterNetNS(t)
	cfg := receiver.NewFactory().CreateDefaultConfig().(*receiver.Config)
	cfg.Attribution.AcceptTracepoint = true
	diagnosis, err := receiver.Diagnose(cfg)
	require.NoError(t, err)
	// The least ring alone takes more than the one; the other bounds the defaults.
	assert.Greater(t, diagnosis.Bytes, uint64(1<<20))
	assert.Less(t, diagnosis.Bytes, uint64(64<<20))
	for i := range diagnosis.Features {
		f := &diagnosis.Features[i]
		switch f.Name {
		case "drop", "accept_queue_overflow_syn", "accept_queue_overflow_ack", "accept_queue_overflow_ack6":
			// They need 5.17, and fentry or kprobes.
		default:
			assert.NotNilf(t, f.Used(), "%+v", f)
		}
		for _, w := range f.Ways {
			assert.NotContains(t, w.Error, "\n")
		}
	}

	known := knownKernel.FindStringSubmatch(diagnosis.Kernel)
	if known == nil {
		t.Logf("no golden file for %s", diagnosis.Kernel)
		return
	}
	diagnosis.Kernel = known[1] + "-" + known[2]
	// What maps take depends on the number of CPUs, and root need not have everything.
	diagnosis.Maps, diagnosis.Bytes, diagnosis.Capabilities = nil, 0, nil
	compareGolden(t, filepath.Join("testdata", diagnosis.Kernel+".json"), diagnosis)
}

func compareGolden(t *testing.T, file string, diagnosis *probe.Diagnosis) {
	t.Helper()
	var got bytes.Buffer
	require.NoError(t, WriteJSON(&got, diagnosis))
	if *update {
		require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(file)
	if err == nil && bytes.Equal(want, got.Bytes()) {
		return
	}
	// A kernel in an emulator has no other way to hand it out: scripts/kernels/golden.sh.
	for line := range strings.Lines(got.String()) {
		fmt.Printf("golden %s %s", file, line)
	}
	require.NoError(t, err)
	assert.Equal(t, string(want), got.String())
}

// enterNetNS moves the test's thread into a new network namespace with an interface
// for packets; the thread ends with the test.
func enterNetNS(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	require.NoError(t, unix.Unshare(unix.CLONE_NEWNET))
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "eth0"
	require.NoError(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: "eth1"}))
}
