// SPDX-License-Identifier: Apache-2.0

// Package owner finds the process and the container that a connection belongs to. It
// reads /proc and the cgroup file systems through an fs.FS.
package owner

// Source says how the owning process became known. Its String is the value of
// tcp.owner.source.
type Source uint8

// Values match enum owner_source in bpf/lib/records.h. A greater value is more reliable.
const (
	None Source = iota
	ByListener
	ByHolder
	ByCloser
	ByAcceptor
)

func (s Source) String() string {
	switch s {
	case ByListener:
		return "listener"
	case ByHolder:
		return "holder"
	case ByCloser:
		return "closer"
	case ByAcceptor:
		return "acceptor"
	default:
		return ""
	}
}

// Key identifies a process. Start separates processes with the same pid.
type Key struct {
	// Start is the task's start time in nanoseconds of the boot clock.
	Start uint64
	// PID is the thread group id in the initial pid namespace.
	PID uint32
}

// Ref is a record's reference to its owner.
type Ref struct {
	Key
	Source Source
}

// Sighting is a process that the kernel side observed for the first time.
type Sighting struct {
	Key
	// Executable is the basename of the executable in the kernel; "" if the process
	// had already dropped it.
	Executable string
	// Comm is the task's name, at most 15 bytes.
	Comm string
	// Cgroup is the inode number of the process's cgroup directory in the v2
	// hierarchy. If that is v2's root, it is one of a v1 controller's.
	Cgroup uint64
}

// Container is where a process runs. The zero value is the host.
type Container struct {
	// ID is the container id, usually 64 hexadecimal digits. It is a name if the
	// runtime knows containers by name.
	ID string
	// PodUID is the Kubernetes pod's uid, with dashes.
	PodUID string
	// Delegated is set if a user other than root can have chosen the two. They are
	// then names of cgroups in a tree that is delegated to a user.
	Delegated bool
}

// Workload is an executable and where it runs. Series are kept per workload. A Table
// returns one pointer per distinct value, so that pointers compare as values do.
type Workload struct {
	// Executable is the basename of the executable; "" when unknown.
	Executable string
	Container  Container
}

// Process is what is known of an owner. It is immutable.
type Process struct {
	Key
	*Workload
}
