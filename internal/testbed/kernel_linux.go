// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Facilities of the kernel that are no hooks of ours, which NeedKernel tries.
const (
	MultipathTCP  = "multipath TCP"
	NetkitDevices = "netkit devices"
)

// NeedKernel ends the test as not possible here when the kernel was built without a
// facility.
func NeedKernel(t testing.TB, facility string) {
	t.Helper()
	var err error
	switch facility {
	case MultipathTCP:
		err = openMultipathSocket()
	case NetkitDevices:
		err = InNewNetNS(addNetkitPair)
	default:
		t.Fatalf("no facility is called %s", facility)
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Skip(NotPossible + facility + ": " + err.Error())
	}
	if err != nil {
		t.Fatalf("%s: %v", facility, err)
	}
}

func openMultipathSocket() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func addNetkitPair() error {
	pair := &netlink.Netkit{LinkAttrs: netlink.LinkAttrs{Name: "host"}}
	pair.SetPeerAttrs(&netlink.LinkAttrs{Name: "peer"})
	return netlink.LinkAdd(pair)
}
