// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// InNewNetNS runs f on a thread in a network namespace of its own.
func InNewNetNS(f func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		return f()
	})
}

// onThread runs f on a thread that ends with it.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever
		done <- f()
	}()
	return <-done
}
