// SPDX-License-Identifier: Apache-2.0

package series

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

const floodingNetNS, secondNetNS = facttest.OwnNetNS + 1, facttest.OwnNetNS + 2

// ports observes connections to n ports of a namespace.
func (r *rig) ports(netns uint32, n int) {
	for port := range n {
		r.AddCount(Key{NetNS: netns, Port: uint16(1 + port), IPv4: true}, connection.Opens, "", 1)
	}
}

func TestSharesOfSeries(t *testing.T) {
	const limit, late = 100, 10
	r := newRig(Options{SeriesLimit: limit, Expiry: time.Minute})
	r.ports(floodingNetNS, 3*limit)
	r.ports(secondNetNS, 5)
	r.ports(facttest.OwnNetNS, late)
	held := func(netns uint32) int { return r.store.shares.held(netns).counts[declared.MetricConnectionOpened] }
	assert.Equal(t, limit/4*3, held(floodingNetNS), "free until three quarters are taken")
	assert.Equal(t, 5, held(secondNetNS), "below its quarter")
	assert.Equal(t, late, held(facttest.OwnNetNS))
	assert.EqualValues(t, 3*limit-limit/4*3, r.Refused())

	// Series that the flood no longer updates expire, and so does the share of its namespace.
	r.pass(time.Second)
	r.pass(2 * time.Minute)
	assert.Empty(t, r.store.shares.of)
	r.ports(floodingNetNS, 2)
	assert.Equal(t, 2, held(floodingNetNS))
}

func TestSharesOfInterfaces(t *testing.T) {
	const limit = 20
	r := newRig(Options{SeriesLimit: limit})
	set := func(netns uint32, n int) {
		for i := range n {
			r.SetInterface(packet.Interface{NetNS: netns, Name: string(rune('a' + i)), Fragments: 1})
		}
	}
	set(floodingNetNS, 26)
	set(0, 5) // the host's
	assert.Equal(t, limit/4*3, r.store.shares.held(floodingNetNS).ifaces)
	assert.Equal(t, 5, r.store.shares.held(facttest.OwnNetNS).ifaces)
}
