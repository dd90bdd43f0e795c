// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestSockConnectionIDs opens connections on every CPU. Each has its own number, with the CPU
// in the place that bpf/sock/connections.h defines. Few connections have small numbers.
func TestSockConnectionIDs(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	k := startAny(t, testConfig(onlyPort(portOf(l.Addr()))))
	cpus := runtime.NumCPU()
	const each = 20
	for cpu := range cpus {
		var set unix.CPUSet
		set.Set(cpu)
		require.NoError(t, unix.SchedSetaffinity(0, &set))
		for range each {
			client, server := connect(t, l, "127.0.0.1")
			finish(t, client, server)
		}
	}
	k.until("closes", func() bool { return len(k.closedTo(portOf(l.Addr()))) == each*cpus })
	ids := make(map[uint64]bool)
	for _, c := range k.closedTo(portOf(l.Addr())) {
		assert.False(t, ids[c.ID], "%d is given twice", c.ID)
		ids[c.ID] = true
		assert.Less(t, int(c.ID>>3&math.MaxUint16), cpus, "CPU of %d", c.ID)
		assert.LessOrEqual(t, c.ID>>19, uint64(each*cpus), "count of %d", c.ID)
	}
}
