// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Facilities of the kernel that are no hooks of ours, which NeedKernel tries.
const (
	MultipathTCP  = "multipath TCP"
	NetkitDevices = "netkit devices"
	// ExecInTimeNamespace: before 6.3 (2b5f9dad32ed) a vforked child, as all of Go's are,
	// can't enter a time namespace; clone answers EINVAL.
	ExecInTimeNamespace = "programs started in a time namespace"
	MemoryCgroups       = "cgroups with a memory limit"
	// FastOpenWithoutBacklog: kernels that take a SYN queue of 0 for full answer with a
	// cookie, and the data of the SYN are lost.
	FastOpenWithoutBacklog = "TCP Fast Open at a backlog of 0"
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
	case ExecInTimeNamespace:
		err = onThread(execInTimeNamespace)
	case MemoryCgroups:
		err = findMemoryController()
	case FastOpenWithoutBacklog:
		err = InNewNetNS(fastOpenWithoutBacklog)
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

func execInTimeNamespace() error {
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return err
	}
	child := exec.Command("cat") // until its input ends
	in, err := child.StdinPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w: %w", err, unix.EOPNOTSUPP)
		}
		return errors.Join(err, in.Close())
	}
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time", child.Process.Pid))
	if err = errors.Join(err, in.Close(), child.Wait()); err != nil {
		return err
	}
	ours, err := os.Readlink("/proc/thread-self/ns/time")
	if err == nil && ours == theirs {
		err = fmt.Errorf("the child is in its parent's: %w", unix.EOPNOTSUPP)
	}
	return err
}

// findMemoryController looks for the controller where systemd mounts it, of v1 or v2.
func findMemoryController() error {
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err == nil {
		return nil
	}
	controllers, err := os.ReadFile("/sys/fs/cgroup/cgroup.subtree_control")
	if err == nil && slices.Contains(strings.Fields(string(controllers)), "memory") {
		return nil
	}
	return fmt.Errorf("there is no memory controller below /sys/fs/cgroup: %w", unix.EOPNOTSUPP)
}
