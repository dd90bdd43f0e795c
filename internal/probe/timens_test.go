// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

// TestProbeInATimeNamespace: hooks read the clocks of the initial time namespace, which
// are a day and an hour behind those of the probe's process.
func TestProbeInATimeNamespace(t *testing.T) {
	testbed.NeedKernel(t, testbed.ExecInTimeNamespace)
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	server := act(t, "server", nil)
	var serverPort uint16
	server.report(&serverPort)

	enterTimeNS(t, 24*time.Hour, time.Hour)
	prober := act(t, "probe", nil)
	prober.order(probeOrder{Memlock: enoughMemlock(t), Port: portOf(l.Addr())})
	var begun probeReport
	prober.report(&begun)
	require.Empty(t, begun.New+begun.Start)

	before := time.Now()
	dialed, accepted := connect(t, l, "127.0.0.1")
	send(t, dialed, accepted, 100)
	finish(t, dialed, accepted)
	after := time.Now()
	prober.order(probeOrder{Port: portOf(l.Addr()), Closes: 1, LookUp: owner.Key{
		PID: uint32(server.cmd.Process.Pid), Start: startTime(t, server.cmd.Process.Pid),
	}})
	var report probeReport
	prober.report(&report)
	require.Len(t, report.Closed, 1)
	const slack = time.Second
	for what, at := range map[string]int64{"opened": report.Closed[0].Opened, "closed": report.Closed[0].Time} {
		assert.WithinRange(t, time.Unix(0, at), before.Add(-slack), after.Add(slack), what)
	}
	assert.False(t, report.Closed[0].Adopted)
	require.NotNil(t, report.LookedUp, "a process is known by its start time")
	assert.EqualValues(t, server.cmd.Process.Pid, report.LookedUp.PID)
}

// enterTimeNS puts what this thread starts into a time namespace of its own. The thread
// ends with the test.
func enterTimeNS(t *testing.T, boottime, monotonic time.Duration) {
	t.Helper()
	runtime.LockOSThread()
	require.NoError(t, unix.Unshare(unix.CLONE_NEWTIME))
	offsets := fmt.Sprintf("boottime %d 0\nmonotonic %d 0\n", boottime/time.Second, monotonic/time.Second)
	require.NoError(t, os.WriteFile(fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid()), []byte(offsets), 0))
}
