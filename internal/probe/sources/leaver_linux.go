// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sources

import (
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// leaver makes sources leave: nothing counts in their entries any more, so that the last value is
// whole.
type leaver struct {
	program *ebpf.Program
}

// open loads the program. Without it, counts that come while an entry is deleted are lost.
func (l *leaver) open(all map[string]*ebpf.Map) error {
	spec, err := loadLeave()
	if err != nil {
		return fmt.Errorf("read the object of the program that ends sources: %w", err)
	}
	objects, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: shared.MapsOf(spec, all)})
	if err != nil {
		return fmt.Errorf("load the program that ends sources: %w", capability.Explain(err, capability.BPF, capability.NetAdmin))
	}
	defer objects.Close()
	if err := waitForPrograms(); err != nil {
		return err
	}
	l.program = objects.DetachProgram("leave")
	return nil
}

// mark makes sources leave, and waits until nothing adds to their entries any more.
func (l *leaver) mark(keys []shared.SourceKey) error {
	if len(keys) == 0 || l.program == nil {
		return nil
	}
	for len(keys) > 0 {
		n := min(len(keys), int(shared.LeaveAtOnce))
		packet := unsafe.Slice((*byte)(unsafe.Pointer(&keys[0])), n*int(unsafe.Sizeof(keys[0])))
		if _, err := l.program.Run(&ebpf.RunOptions{Data: packet}); err != nil {
			return fmt.Errorf("make idle sources leave: %w", err)
		}
		keys = keys[n:]
	}
	return l.settle()
}

func (l *leaver) close() error {
	if l.program == nil {
		return nil
	}
	err := l.program.Close()
	l.program = nil
	return err
}

// membarrierGlobal waits for a grace period of the kernel; MEMBARRIER_CMD_GLOBAL of
// include/uapi/linux/membarrier.h.
const membarrierGlobal = 1

// settle waits until all programs have ended that run now, if that is possible.
func (l *leaver) settle() error {
	if l.program == nil {
		return nil
	}
	return waitForPrograms()
}

// waitForPrograms is refused on hosts with CPUs without a tick (nohz_full).
func waitForPrograms() error {
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); errno != 0 {
		return fmt.Errorf("wait for running programs by membarrier: %w", errno)
	}
	return nil
}
