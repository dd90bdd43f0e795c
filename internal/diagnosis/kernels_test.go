// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package diagnosis

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
	"github.com/ebpftcp/ebpftcpreceiver/receiver"
)

// TestKernel diagnoses the running kernel, with every way that a configuration can allow,
// and holds a known one to the golden file of its profile: what it lets us use.
func TestKernel(t *testing.T) {
	enterNetNS(t)
	cfg := receiver.NewFactory().CreateDefaultConfig().(*receiver.Config)
	cfg.Attribution.AcceptTracepoint = true
	cfg.Hooks.Exclude = testbed.ExcludedHooks()
	diagnosis, err := receiver.Diagnose(cfg)
	require.NoError(t, err)
	// The least ring alone takes more than the one; the other bounds the defaults.
	assert.Greater(t, diagnosis.Bytes, uint64(1<<20))
	assert.Less(t, diagnosis.Bytes, uint64(64<<20))
	for i := range diagnosis.Features {
		f := &diagnosis.Features[i]
		for _, w := range f.Ways {
			assert.NotContains(t, w.Error, "\n")
			assert.NotEqualf(t, probe.CauseVerifier, w.Cause, "%s: %v: %s", f.Name, w.Hooks, w.Error)
		}
	}
	t.Run("profile", func(t *testing.T) { testProfile(t, diagnosis) })
}

// The kernels that golden files exist for, by their release. Two builds of one version
// can differ in what they permit: each such profile has a file of its own,
// VERSION-FLAVOUR.json or VERSION-FLAVOUR-PROFILE.json.
var knownKernel = regexp.MustCompile(`^(\d+\.\d+)\..*-(cloud-amd64|cloud-arm64|fc)\b`)

// testProfile holds a diagnosis to the golden file of its profile. What the kernel does
// not permit, though it does in all files of its version, is a profile that is not known:
// it is listed as not possible here, and never written into a file, which would hide a
// hook.
func testProfile(t *testing.T, diagnosis *probe.Diagnosis) {
	t.Helper()
	known := knownKernel.FindStringSubmatch(diagnosis.Kernel)
	if known == nil {
		testbed.Need(t, stranger("there is no golden file for Linux "+diagnosis.Kernel), "known kernel")
	}
	version := known[1] + "-" + known[2]
	candidates := slices.DeleteFunc(golden(t), func(d *probe.Diagnosis) bool {
		return d.Kernel != version && !strings.HasPrefix(d.Kernel, version+"-")
	})
	got := comparable(diagnosis)
	want, differ := nearest(candidates, got)
	got.Kernel = version
	switch {
	case len(differ) > 0:
		got.Kernel += "-new"
		first := differ[0].got
		for _, d := range differ {
			require.Truef(t, d.permitted(), "not as on %s: %v: %+v", want.Kernel, d.got.Hooks, d)
		}
		writeGolden(t, got)
		printGolden(t, got)
		testbed.Need(t, stranger(fmt.Sprintf("no golden file of %s has %v: %s", version, first.Hooks, first.Error)), "known profile")
	case want != nil:
		got.Kernel = want.Kernel
		adoptRefusals(got, want)
	}
	writeGolden(t, got)
	text, err := os.ReadFile(goldenFile(got))
	if err != nil || string(text) != encode(t, got) {
		printGolden(t, got)
	}
	require.NoError(t, err)
	assert.Equal(t, string(text), encode(t, got), "run the test with -update, or scripts/kernels/golden.sh, when this is intended")
}

// stranger is a host that no golden file describes, and why.
type stranger string

func (s stranger) Lacks(string) (string, error) { return string(s), nil }

// comparable leaves out what differs from one machine to the next: what maps take depends
// on the number of CPUs, and root need not have everything.
func comparable(d *probe.Diagnosis) *probe.Diagnosis {
	c := *d
	c.Maps, c.Bytes, c.Capabilities = nil, 0, nil
	c.Features = slices.Clone(d.Features)
	for i := range c.Features {
		c.Features[i].Ways = slices.Clone(c.Features[i].Ways)
	}
	return &c
}

func goldenFile(d *probe.Diagnosis) string { return filepath.Join("testdata", d.Kernel+".json") }

func encode(t *testing.T, d *probe.Diagnosis) string {
	t.Helper()
	var text bytes.Buffer
	require.NoError(t, WriteJSON(&text, d))
	return text.String()
}

// printGolden: a kernel in an emulator has no other way to hand its file out, see
// scripts/kernels/golden.sh.
func printGolden(t *testing.T, d *probe.Diagnosis) {
	t.Helper()
	for line := range strings.Lines(encode(t, d)) {
		fmt.Printf("golden %s %s", goldenFile(d), line)
	}
}

func writeGolden(t *testing.T, d *probe.Diagnosis) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(goldenFile(d), []byte(encode(t, d)), 0o644))
	}
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
