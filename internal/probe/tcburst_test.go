// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

// addVeths makes pairs of which one end is selected by onVeths.
func addVeths(t *testing.T, pairs int) {
	t.Helper()
	for i := range pairs {
		name := fmt.Sprintf("churn%03d", i)
		require.NoError(t, netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer-" + name,
		}))
	}
}

// Each program on TCX takes the kernel a grace period, so hundreds of interfaces take
// seconds to attach to and to leave; the goroutine that drains the ring and takes
// snapshots must not wait for that.
func TestTCBurstOfInterfaces(t *testing.T) {
	const pairs, limit = 200, 15 * time.Second
	const pause = 2500 * time.Millisecond // a busy machine's; waiting for all took four seconds and more
	tcModes(t, func(t *testing.T, m TCMode) {
		enterNetNS(t)
		k := startProbe(t, testConfig(onVeths(m)))
		began := time.Now()
		addVeths(t, pairs)
		made := time.Since(began)
		var slowest time.Duration
		within(t, limit, func() bool {
			look := time.Now()
			k.probe.tc.counters()
			k.probe.Hooks()
			slowest = max(slowest, time.Since(look))
			return len(k.attachedTo()) == 1+pairs
		}, "attached to %d pairs", pairs)
		t.Logf("%d pairs made within %s, attached within %s, slowest look %s", pairs, made, time.Since(began), slowest)
		if emulated() {
			slowest /= 10
		}
		assert.Less(t, slowest, pause)

		began = time.Now()
		require.NoError(t, k.probe.Detach())
		t.Logf("detached within %s", time.Since(began))
		assert.Empty(t, k.attachedTo())
		if m == TCX {
			assert.Zero(t, k.holdings().links)
		}
	})
}
