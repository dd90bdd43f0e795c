// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// On TCX the kernel waits for a grace period per program, so attaching to hundreds of
// interfaces takes seconds, and so does detaching. The goroutine that drains the ring buffer
// and takes snapshots must not wait for that.
func TestTCBurstOfInterfaces(t *testing.T) {
	const pairs, limit = 200, 15 * time.Second
	const pause = 2500 * time.Millisecond // a busy machine's; waiting for all took four seconds and more
	modes(t, func(t *testing.T, m settings.TCMode) {
		wire.Enter(t)
		k := startLive(t, config(onVeths(m)))
		began := time.Now()
		wire.AddVeths(t, pairs)
		made := time.Since(began)
		var slowest time.Duration
		wire.Within(t, limit, func() bool {
			look := time.Now()
			k.Counters()
			k.Hooks()
			slowest = max(slowest, time.Since(look))
			return len(k.attachedTo()) == 1+pairs
		}, "attached to %d pairs", pairs)
		t.Logf("%d pairs made within %s, attached within %s, slowest look %s", pairs, made, time.Since(began), slowest)
		if wire.Emulated() {
			slowest /= 10
		}
		assert.Less(t, slowest, pause)

		began = time.Now()
		require.NoError(t, k.Detach())
		t.Logf("detached within %s", time.Since(began))
		assert.Empty(t, k.attachedTo())
		if m == settings.TCX {
			assert.Zero(t, k.holdings().links)
		}
	})
}
