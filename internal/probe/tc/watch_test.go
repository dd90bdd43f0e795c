// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package tc

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/street"
)

// A router learns and forgets routes all the time: messages of those that are not local
// don't even reach us.
func TestWatchIsQuietAboutOtherRoutes(t *testing.T) {
	street.New(t)
	watch, err := newWatch()
	require.NoError(t, err)
	defer func() { require.NoError(t, watch.close()) }()
	settle := func() {
		for {
			came, err := watch.wait(time.Now().Add(burstMax))
			require.NoError(t, err)
			if !came {
				return
			}
		}
	}
	settle()
	routes, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	require.NoError(t, err)
	defer routes.Close()
	device, err := netlink.LinkByName(street.Device)
	require.NoError(t, err)
	for _, prefix := range []string{"203.0.113.0/24", "2001:db8:77::/48"} {
		_, to, err := net.ParseCIDR(prefix)
		require.NoError(t, err)
		route := &netlink.Route{Dst: to, LinkIndex: device.Attrs().Index, Table: 77}
		require.NoError(t, routes.RouteAdd(route))
		require.NoError(t, routes.RouteReplace(route))
		require.NoError(t, routes.RouteDel(route))
	}
	came, err := watch.wait(time.Now().Add(burstMax))
	require.NoError(t, err)
	assert.False(t, came, "of no interest")

	lo, err := netlink.LinkByName("lo")
	require.NoError(t, err)
	_, to, err := net.ParseCIDR("2001:db8:99::/48")
	require.NoError(t, err)
	local := &netlink.Route{
		Dst: to, LinkIndex: lo.Attrs().Index, Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
	}
	require.NoError(t, routes.RouteAdd(local))
	came, err = watch.wait(time.Now().Add(5 * time.Second))
	require.NoError(t, err)
	assert.True(t, came, "a local route came")
	settle()
	require.NoError(t, routes.RouteDel(local))
	came, err = watch.wait(time.Now().Add(5 * time.Second))
	require.NoError(t, err)
	assert.True(t, came, "a local route went")
}
