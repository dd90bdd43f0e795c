// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// netNS is the network namespace that a thread was in.
type netNS struct{ file *os.File }

const threadNetNS = "/proc/thread-self/ns/net"

func openNetNS() (*netNS, error) {
	file, err := os.Open(threadNetNS)
	if err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	return &netNS{file}, nil
}

// enter moves the goroutine into the namespace unless its thread is there. A thread
// that moved stays with the goroutine and ends with it.
func (n *netNS) enter() error {
	runtime.LockOSThread()
	var here, there unix.Stat_t
	if err := unix.Stat(threadNetNS, &here); err != nil {
		return fmt.Errorf("look at the network namespace: %w", err)
	}
	if err := unix.Fstat(int(n.file.Fd()), &there); err != nil {
		return fmt.Errorf("look at the network namespace: %w", err)
	}
	if here.Ino == there.Ino && here.Dev == there.Dev {
		return nil
	}
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	return nil
}

func (n *netNS) close() { _ = n.file.Close() }
