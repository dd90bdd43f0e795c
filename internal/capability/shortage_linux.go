// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package capability

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// shortage is an error about a limit of this process. The operator can raise it.
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

func (*shortage) Mendable() bool { return true }

// neededDescriptors is how many descriptors maps, programs and links take while they are
// loaded, for a few interfaces.
const neededDescriptors = 192

// CheckDescriptors returns an error when RLIMIT_NOFILE is too low. Call it before creating
// maps: cilium/ebpf takes a call that fails with EMFILE for a feature the kernel lacks.
func CheckDescriptors() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read RLIMIT_NOFILE: %w", err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	used := uint64(len(open))
	switch {
	case errors.Is(err, unix.EMFILE):
		used = limit.Cur
	case err != nil:
		return nil //nolint:nilerr // unknown: the call that fails will say so
	}
	if used+neededDescriptors <= limit.Cur {
		return nil
	}
	return &shortage{why: fmt.Sprintf("RLIMIT_NOFILE is too low: it allows %d open files, %d are open, and maps and programs take up to %d more",
		limit.Cur, used, neededDescriptors)}
}

// explainShortage names the limit that caused an error; nil if none did.
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
