// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package listening

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

func TestNetstatValue(t *testing.T) {
	const data = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\n" +
		"IpExt: InNoRoutes ListenOverflows\nIpExt: 4 5\n"
	value, err := netstatValue(data, "ListenOverflows")
	require.NoError(t, err)
	assert.EqualValues(t, 22, value)
	for _, broken := range []string{"", "TcpExt: ListenOverflows\n", "TcpExt: ListenOverflows\nTcpExt:\n", "TcpExt: ListenOverflows\nTcpExt: x\n"} {
		_, err := netstatValue(broken, "ListenOverflows")
		assert.Error(t, err, "%q", broken)
	}
}

// Listeners of a namespace beyond its share, and all beyond the limit, take no room.
func TestOverflowsKeepNoMoreListenersThanTheLimit(t *testing.T) {
	const own, other, limit = 1, 2, 3
	o := newNamespaceOverflows(own, limit, false)
	record := func(socket uint64, netns uint32, followed shared.Followed) *shared.ListenRecord {
		r := &shared.ListenRecord{Sk: socket, Followed: uint8(followed)}
		r.Head.Netns = netns
		return r
	}
	o.listen(record(1, own, shared.FollowedYes), true)
	o.listen(record(2, other, shared.FollowedNotShare), true)
	for socket := range uint64(10) {
		o.listen(record(10+socket, own, shared.FollowedNot), true)
	}
	assert.Equal(t, map[uint64]uint32{1: own, 10: own, 11: own}, o.netns)
	assert.Equal(t, []uint32{own}, o.Namespaces())
	o.listen(record(1, own, shared.FollowedYes), true)
	o.ended(11)
	o.listen(record(12, own, shared.FollowedNot), true)
	assert.Equal(t, map[uint64]uint32{1: own, 10: own, 12: own}, o.netns)
	o.keepOnly(map[uint64]bool{1: true, 2: true, 12: true})
	assert.Equal(t, map[uint64]uint32{1: own, 12: own}, o.netns)
}

// The record of a listener's end may be lost, and no table have it: a scan that does not find
// the listener ends it.
func TestOverflowsForgetListenersThatAreNotFound(t *testing.T) {
	const own = 1
	f := &Follower{Ports: &Ports{}, overflowing: newNamespaceOverflows(own, 3, false)}
	f.overflowing.opened(1, own, 0, true)
	f.overflowing.opened(2, own, 0, true)
	f.KeepOnly(map[uint64]bool{2: true})
	assert.Equal(t, map[uint64]uint32{2: own}, f.overflowing.netns)
}
