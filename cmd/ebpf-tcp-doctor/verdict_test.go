// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// hideBTF hides the kernel's types from the test's thread, which ends with the test.
func hideBTF(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	require.NoError(t, unix.Unshare(unix.CLONE_NEWNS))
	require.NoError(t, unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
	require.NoError(t, unix.Mount("none", "/sys/kernel/btf", "tmpfs", 0, ""))
}

// TestVerdictWithoutCore: without what connections take it fails, and its last line says
// why.
func TestVerdictWithoutCore(t *testing.T) {
	hideBTF(t)
	var out bytes.Buffer
	require.ErrorIs(t, run(t.Context(), nil, &out, io.Discard), errVerdict)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	assert.Contains(t, lines[len(lines)-1], "Verdict: this host does not support what is asked for: can't give tcp.server.connection.close")
	assert.Contains(t, lines[len(lines)-1], "this kernel has no BTF")
	assert.Equal(t, 1, strings.Count(out.String(), "\n  connection, "), "features of one cause share a line:\n%s", out.String())

	out.Reset()
	require.ErrorIs(t, run(t.Context(), []string{"--json"}, &out, io.Discard), errVerdict)
	var diagnosis probe.Diagnosis
	require.NoError(t, json.Unmarshal(out.Bytes(), &diagnosis))
	assert.Contains(t, diagnosis.Error, "this kernel has no BTF")

	// Nobody asks for connections.
	config := filepath.Join(t.TempDir(), "packets.yaml")
	require.NoError(t, os.WriteFile(config, []byte(`
receivers:
  ebpf_tcp:
    interfaces: {include: [lo], exclude: []}
    events: {tcp.server.connection.close: {enabled: false}}
    metrics:
      tcp.server.accept.duration: {enabled: false}
      tcp.server.connection.active: {enabled: false}
      tcp.server.connection.closed: {enabled: false}
      tcp.server.connection.duration: {enabled: false}
      tcp.server.connection.opened: {enabled: false}
      tcp.server.handshake.duration: {enabled: false}
      tcp.server.io: {enabled: false}
      tcp.server.rtt: {enabled: false}
`), 0o600))
	out.Reset()
	require.NoError(t, run(t.Context(), []string{"--config", config}, &out, io.Discard), out.String())
	assert.Contains(t, out.String(), "\nVerdict: what is asked for works here, without: connections")
}
