// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// shortage is a limit of this process that stands in the way, and that can be raised.
type shortage struct {
	why string
	err error
}

func (s *shortage) Error() string {
	if s.err == nil {
		return s.why
	}
	var errno unix.Errno
	if errors.As(s.err, &errno) {
		return s.why + ": " + errno.Error()
	}
	return s.why + ": " + s.err.Error()
}

func (s *shortage) Unwrap() error { return s.err }

func (*shortage) mendable() bool { return true }

// neededDescriptors is what maps, programs and links take at the same time while they
// are loaded, with some interfaces.
const neededDescriptors = 192

// checkDescriptors comes before anything is created: the library takes an open(2) or
// bpf(2) that fails for want of a descriptor for a feature that the kernel lacks.
func checkDescriptors() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("ask for RLIMIT_NOFILE: %w", err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	used := uint64(len(open))
	switch {
	case errors.Is(err, unix.EMFILE):
		used = limit.Cur
	case err != nil:
		return nil //nolint:nilerr // not known; what fails says so
	}
	if used+neededDescriptors <= limit.Cur {
		return nil
	}
	return &shortage{why: fmt.Sprintf("RLIMIT_NOFILE is too low: it allows %d open files, %d are open, and maps and programs take up to %d more",
		limit.Cur, used, neededDescriptors)}
}

// explainShortage names the limit that an error is about; nil when it is about none.
func explainShortage(err error) error {
	switch {
	case errors.Is(err, unix.EMFILE):
		var limit unix.Rlimit
		_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
		return &shortage{fmt.Sprintf("RLIMIT_NOFILE is too low: it allows %d open files", limit.Cur), err}
	case errors.Is(err, unix.ENOMEM):
		group, limit := MemoryLimit(os.DirFS("/"))
		if group == "" {
			return &shortage{"the kernel has no memory left for it; lower values of limits::connections and limits::ring_bytes take less", err}
		}
		return &shortage{fmt.Sprintf("the memory limit of the cgroup %s, %d MiB, may be too low, for the kernel's maps count: lower values of limits::connections and limits::ring_bytes take less",
			group, limit>>20), err}
	default:
		return nil
	}
}
