// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package hook

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
)

// attachSyscallTracepoint attaches to syscalls/<name>.
func attachSyscallTracepoint(name string, prog *ebpf.Program) (link.Link, error) {
	id, err := syscallTracepointID(name)
	if err != nil {
		return nil, err
	}
	attr := unix.PerfEventAttr{
		Type:        unix.PERF_TYPE_TRACEPOINT,
		Config:      id,
		Sample_type: unix.PERF_SAMPLE_RAW,
		Sample:      1,
		Wakeup:      1,
	}
	// pid -1 and CPU 0: a program on a tracepoint runs on every CPU, whatever the CPU of
	// the event.
	fd, err := unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open the perf event: %w", capability.ExplainPerf(err))
	}
	event := &perfEvent{file: os.NewFile(uintptr(fd), name)}
	if err := event.enable(prog); err != nil {
		return nil, errors.Join(err, event.Close())
	}
	return event, nil
}

// perfEvent is a perf event with a program; closing the descriptor detaches both. A
// bpf_link would need 5.15.
type perfEvent struct {
	link.Link
	file *os.File
}

func (e *perfEvent) enable(prog *ebpf.Program) error {
	fd := int(e.file.Fd())
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_BPF, prog.FD()); err != nil {
		return fmt.Errorf("set the perf event's program: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0); err != nil {
		return fmt.Errorf("enable the perf event: %w", err)
	}
	return nil
}

func (e *perfEvent) Close() error { return e.file.Close() }

// syscallTracepointID reads the number from tracefs, the only place that has it. Only root
// may enter its folders.
func syscallTracepointID(name string) (uint64, error) {
	path := "events/syscalls/" + name + "/id"
	text, mountedErr := os.ReadFile("/sys/kernel/tracing/" + path)
	if mountedErr == nil {
		return parseTracepointID(text)
	}
	tracefs, err := openTracefs()
	if err != nil {
		if errors.Is(mountedErr, os.ErrPermission) {
			return 0, capability.Explain(mountedErr, capability.DACReadSearch)
		}
		return 0, capability.Explain(err, tracefsNeeds()...)
	}
	defer unix.Close(tracefs)
	fd, err := unix.Openat(tracefs, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s in tracefs (CONFIG_FTRACE_SYSCALLS): %w", path, capability.Explain(err, capability.DACReadSearch))
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if text, err = io.ReadAll(file); err != nil {
		return 0, fmt.Errorf("read %s in tracefs: %w", path, err)
	}
	return parseTracepointID(text)
}

func parseTracepointID(text []byte) (uint64, error) {
	id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse a tracepoint's number: %w", err)
	}
	return id, nil
}

// tracefsNeeds are for a mount of our own.
func tracefsNeeds() []capability.Capability {
	if os.Geteuid() == 0 {
		return []capability.Capability{capability.SysAdmin} // the folders are root's
	}
	return []capability.Capability{capability.SysAdmin, capability.DACReadSearch}
}

// openTracefs is for the many hosts that do not mount tracefs. A mount that is attached to
// no directory (fsmount, since 5.2) is private to us and ends with its descriptor.
func openTracefs() (int, error) {
	context, err := unix.Fsopen("tracefs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open tracefs: %w", err)
	}
	defer unix.Close(context)
	if err := unix.FsconfigCreate(context); err != nil {
		return -1, fmt.Errorf("create a tracefs mount: %w", err)
	}
	mount, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return -1, fmt.Errorf("attach the tracefs mount: %w", err)
	}
	return mount, nil
}
