// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// enterNetNS moves the test's thread into a new network namespace with loopback up. The
// runtime ends the thread together with the goroutine.
func enterNetNS(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	require.NoError(t, unix.Unshare(unix.CLONE_NEWNET))
	setLoopback(t, true)
}

func setLoopback(t *testing.T, up bool) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	require.NoError(t, err)
	if up {
		require.NoError(t, netlink.LinkSetUp(lo))
	} else {
		require.NoError(t, netlink.LinkSetDown(lo))
	}
}
