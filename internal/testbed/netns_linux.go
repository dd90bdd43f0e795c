// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// InNewNetNS runs f on a thread in a network namespace of its own.
func InNewNetNS(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("make a network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}
