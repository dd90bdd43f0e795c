// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A filter outlives the process that added it. Whether its instance still lives is
// told by an abstract Unix socket that the instance holds, bound to its name:
//
//   - Such names belong to a network namespace, as interfaces do. An interface that
//     is moved to another one loses its filters, so filter and name never part; and
//     containers that share the namespace see one another's names, whatever their
//     pid, mount and user namespaces.
//   - The kernel gives a name up with the last descriptor, so with the process,
//     however it ends. There is no pid that could be reused, and no file to leave
//     behind or to be refused. A program that the process starts does not inherit
//     the descriptor.
//   - To bind a name asks, and at the same time holds a dead one while its filters
//     are removed. It needs no capability.
//
// Nothing listens on the socket, so nobody can connect or send to it.
type tcInstance struct {
	id     uint32
	socket abstractSocket
}

// tcNamePrefix begins the names of our filters and sockets.
const tcNamePrefix = "ebpf_tcp-"

func (i *tcInstance) String() string { return instanceName(i.id) }

func instanceName(id uint32) string { return fmt.Sprintf("%s%08x", tcNamePrefix, id) }

const maxInstanceTries = 8

// newTCInstance takes a name that nobody has in the thread's network namespace.
func newTCInstance() (*tcInstance, error) {
	var err error
	for range maxInstanceTries {
		var random [4]byte
		if _, err := rand.Read(random[:]); err != nil {
			return nil, fmt.Errorf("choose an instance id: %w", err)
		}
		// The id is the handle of our filters, too: 0 would let the kernel choose.
		i := &tcInstance{id: binary.NativeEndian.Uint32(random[:]) | 1}
		if i.socket, err = bindAbstract(i.String()); err == nil {
			return i, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return nil, fmt.Errorf("tell other instances that this one lives: %w", err)
}

func (i *tcInstance) close() { i.socket.close() }

// here is false on a thread in another network namespace, where all instances seem to
// be dead, this one included.
func (i *tcInstance) here() bool {
	socket, err := bindAbstract(i.String())
	socket.close()
	return errors.Is(err, unix.EADDRINUSE)
}

// claimDead holds the name of an instance that is dead, until release. An instance
// that can't be asked about counts as alive. The thread has to be in the network
// namespace of the filters.
func claimDead(id uint32) (release func(), dead bool) {
	socket, err := bindAbstract(instanceName(id))
	return socket.close, err == nil
}

// abstractSocket is a descriptor; -1 where there is none.
type abstractSocket int

// bindAbstract fails with EADDRINUSE when somebody holds the name.
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

// tcFilterName is what the name of a filter of ours tells.
type tcFilterName struct {
	instance  uint32
	direction tcDirection
	// ourQdisc: one of our instances made the qdisc that the filter is in. A qdisc
	// carries no mark of its own, and its maker may be gone when the last one leaves.
	ourQdisc bool
}

const tcOurQdiscMark = "+qdisc"

func (n tcFilterName) String() string {
	name := instanceName(n.instance) + "-" + n.direction.String()
	if n.ourQdisc {
		name += tcOurQdiscMark
	}
	return name
}

// parseTCFilterName is false for whatever String does not write.
func parseTCFilterName(name string) (tcFilterName, bool) {
	var n tcFilterName
	rest, ourQdisc := strings.CutSuffix(name, tcOurQdiscMark)
	id, direction, _ := strings.Cut(strings.TrimPrefix(rest, tcNamePrefix), "-")
	instance, err := strconv.ParseUint(id, 16, 32)
	if err != nil {
		return n, false
	}
	n = tcFilterName{instance: uint32(instance), ourQdisc: ourQdisc}
	if direction == tcEgress.String() {
		n.direction = tcEgress
	}
	return n, n.String() == name
}
