// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

// TestExamplesRunBesideACollector runs each example as a user with nothing but the three
// capabilities, where another collector has its usual ports.
func TestExamplesRunBesideACollector(t *testing.T) {
	examples, err := filepath.Glob("../../examples/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, examples)
	for _, example := range examples {
		t.Run(filepath.Base(example), func(t *testing.T) {
			n := newNetwork(t)
			for _, taken := range []int{8888, 13133, 4317} {
				n.server.startServer(t, taken)
			}
			config, err := os.ReadFile(example)
			require.NoError(t, err)
			runAs(t, "--reuid="+nobody, "--regid="+nobody, "--clear-groups", "--no-new-privs", "--bounding-set="+onlyLeast(),
				"--inh-caps="+onlyLeast(), "--ambient-caps="+onlyLeast())
			agent := startExample(t, n.server, string(config))
			status, body := health(t, n.server, 13134)
			assert.Equal(t, http.StatusOK, status, "%v", body)
			assert.NotEmpty(t, n.server.scrape(t, 9465))
			assert.NotContains(t, agent.said(), "mkdir")
		})
	}
}

// newMemoryGroup makes a cgroup with a limit, of v1 or v2.
func newMemoryGroup(t *testing.T, limit int) string {
	t.Helper()
	testbed.NeedKernel(t, testbed.MemoryCgroups)
	var err error
	for _, group := range []struct{ parent, file string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"},
	} {
		folder := filepath.Join(group.parent, fmt.Sprintf("ebpf-tcp-%d", os.Getpid()))
		if err = os.Mkdir(folder, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() {
			assert.Eventually(t, func() bool { return os.Remove(folder) == nil }, settle, tick, "the cgroup stays")
		})
		if err = os.WriteFile(filepath.Join(folder, group.file), []byte(strconv.Itoa(limit)), 0o600); err == nil {
			return folder
		}
	}
	require.NoError(t, err)
	return ""
}

// runInGroup makes the collector under test one in a cgroup.
func runInGroup(t *testing.T, group string) {
	t.Helper()
	wrapper := filepath.Join(t.TempDir(), "wrapper")
	script := fmt.Sprintf("#!/bin/sh\necho $$ >%s/cgroup.procs && exec %s \"$@\"\n", group, os.Getenv(collectorVariable))
	require.NoError(t, os.WriteFile(wrapper, []byte(script), 0o700))
	t.Setenv(collectorVariable, wrapper)
}

// TestMapsBeyondTheCgroup: if the maps do not fit into the cgroup, Start fails and names it.
func TestMapsBeyondTheCgroup(t *testing.T) {
	group := newMemoryGroup(t, 200<<20)
	runInGroup(t, group)
	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, []byte(`
receivers: {ebpf_tcp: {limits: {connections: 4194304}}}
exporters: {debug: }
service:
  telemetry: {metrics: {level: none}}
  pipelines: {logs: {receivers: [ebpf_tcp], exporters: [debug]}}
`), 0o600))
	said, err := exec.Command(os.Getenv(collectorVariable), "--config", config).CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", said)
	assert.Contains(t, string(said), "the memory limit of the cgroup /"+filepath.Base(group)+", 200 MiB, may be too low")
}

// TestSmallCgroup ends 50,000 connections under a collector that may have 100 MiB of
// memory, the kernel's maps included. It survives, and its ledger has all of them.
func TestSmallCgroup(t *testing.T) {
	const connections, workers = 50_000, 8
	group := newMemoryGroup(t, 100<<20)
	out := startSink(t, namespace{})
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go serveOne(listener)
	runInGroup(t, group)
	agent := startAgent(t, out.endpoint, agentSettings{
		receiver: fmt.Sprintf("    tc: {mode: \"off\"}\n    ports: {include: [%d]}", listener.Addr().(*net.TCPAddr).Port),
	})
	var failed atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range connections / workers {
				if exchangeOne(listener.Addr().String()) != nil {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	require.Zero(t, failed.Load())
	agent.stop()
	lives := agent.lastLedgers()
	require.Len(t, lives, 1, "it was killed:\n%s", agent.complaints())
	ledger := lives[0]["connection"]
	assert.InDelta(t, connections, ledger.Produced, 0)
	assert.InDelta(t, connections, ledger.Delivered+ledger.Lost, 0)
}

// serveOne answers a byte with a byte, and waits for the client's end.
func serveOne(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.CopyN(conn, conn, 1)
			_, _ = io.Copy(io.Discard, conn)
		}()
	}
}

// exchangeOne ends by a reset, which leaves no port behind in TIME_WAIT.
func exchangeOne(target string) error {
	conn, err := net.Dial("tcp4", target)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return err
}
