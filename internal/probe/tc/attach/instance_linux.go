// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package attach

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// instance stands for all programs that a registry attaches in one network namespace.
//
// A filter outlives the process that added it. An abstract Unix socket with the instance's
// name shows whether the instance still lives:
//
//   - Such names belong to a network namespace, as interfaces do. An interface that
//     moves to another namespace loses its filters, so a filter always finds its name.
//     Containers that share the namespace see each other's names, whatever their pid,
//     mount and user namespaces.
//   - The kernel frees a name with its last descriptor, at the end of the process,
//     however it ends. No pid can be reused, and no file can remain or be refused.
//     Children do not inherit the descriptor.
//   - Binding a name checks that it is free, and holds it while the filters of a dead
//     instance are removed. It needs no capability.
//
// Nothing listens on the socket, so no process can connect or send to it.
type instance struct {
	id     uint32
	socket abstractSocket
}

// namePrefix begins the names of our filters and sockets.
const namePrefix = "ebpf_tcp-"

func (i *instance) String() string { return instanceName(i.id) }

func instanceName(id uint32) string { return fmt.Sprintf("%s%08x", namePrefix, id) }

const maxInstanceTries = 8

// maxHandles is how many handles an instance has for its filters at one place.
const maxHandles = 1 << 8

// newInstance takes a name that is free in the thread's network namespace.
func newInstance() (*instance, error) {
	var err error
	for range maxInstanceTries {
		var random [4]byte
		if _, err := rand.Read(random[:]); err != nil {
			return nil, fmt.Errorf("choose an instance id: %w", err)
		}
		// The id also begins the handles of our filters. With 0 the kernel would choose.
		i := &instance{id: max(binary.NativeEndian.Uint32(random[:])&^(maxHandles-1), maxHandles)}
		if i.socket, err = bindAbstract(i.String()); err == nil {
			return i, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return nil, fmt.Errorf("announce this instance to others: %w", err)
}

func (i *instance) close() { i.socket.close() }

// here is false on a thread in another network namespace, where all instances seem dead,
// including this one.
func (i *instance) here() bool {
	socket, err := bindAbstract(i.String())
	socket.close()
	return errors.Is(err, unix.EADDRINUSE)
}

// claimDead holds the name of a dead instance until release. If that fails for another
// reason, the instance counts as alive. The thread is in the network namespace of the filters.
func claimDead(id uint32) (release func(), dead bool) {
	socket, err := bindAbstract(instanceName(id))
	return socket.close, err == nil
}

// abstractSocket is a descriptor, or -1.
type abstractSocket int

// bindAbstract fails with EADDRINUSE if another process holds the name.
func bindAbstract(name string) (abstractSocket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open a Unix socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "@" + name}); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("bind @%s: %w", name, err)
	}
	return abstractSocket(fd), nil
}

func (s abstractSocket) close() {
	if s >= 0 {
		_ = unix.Close(int(s))
	}
}

// filterName has the parts of the name of a filter of ours.
type filterName struct {
	instance  uint32
	program   string
	direction Direction
	// ourQdisc is set if one of our instances created the filter's qdisc. A qdisc has no
	// mark of its own, and its creator can be gone when the last one leaves.
	ourQdisc bool
}

const ourQdiscMark = "+qdisc"

func (n filterName) String() string {
	name := instanceName(n.instance) + "-" + n.program + "-" + n.direction.String()
	if n.ourQdisc {
		name += ourQdiscMark
	}
	return name
}

// parseFilterName returns false for names that String does not write.
func parseFilterName(name string) (filterName, bool) {
	rest, ourQdisc := strings.CutSuffix(name, ourQdiscMark)
	parts := strings.Split(strings.TrimPrefix(rest, namePrefix), "-")
	if len(parts) != 3 || parts[1] == "" {
		return filterName{}, false
	}
	instance, err := strconv.ParseUint(parts[0], 16, 32)
	if err != nil {
		return filterName{}, false
	}
	n := filterName{instance: uint32(instance), program: parts[1], ourQdisc: ourQdisc}
	if parts[2] == Egress.String() {
		n.direction = Egress
	}
	return n, n.String() == name
}
