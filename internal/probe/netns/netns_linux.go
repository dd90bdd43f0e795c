// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

// Package netns opens network namespaces, finds them, and runs functions inside.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace. It stays alive until Close.
type Namespace struct {
	file *os.File
	// Inode identifies the namespace among those that are alive.
	Inode uint32
}

// ThreadFile is the file of the namespace that the calling thread is in.
const ThreadFile = "/proc/thread-self/ns/net"

var errNotNetwork = errors.New("not a network namespace")

// OpenThread opens the namespace that the calling thread is in.
func OpenThread() (*Namespace, error) { return Open(ThreadFile) }

// Open opens a namespace by its file. It fails for other kinds of files.
func Open(path string) (*Namespace, error) {
	// O_NONBLOCK, because a pattern may match a FIFO, which would wait for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	n := &Namespace{file: file}
	if n.Inode, err = inodeOf(int(file.Fd())); err != nil {
		n.Close()
		return nil, fmt.Errorf("open the network namespace %s: %w", path, err)
	}
	return n, nil
}

// inodeOf fails for descriptors of other files.
func inodeOf(fd int) (uint32, error) {
	var system unix.Statfs_t
	if err := unix.Fstatfs(fd, &system); err != nil {
		return 0, err
	}
	if system.Type != unix.NSFS_MAGIC {
		return 0, errNotNetwork
	}
	if kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return 0, errors.Join(errNotNetwork, err)
	}
	var stat unix.Stat_t
	err := unix.Fstat(fd, &stat)
	return uint32(stat.Ino), err
}

// Run calls f on a thread inside the namespace and waits for it. The thread leaves when f
// returns, so that no thread keeps the namespace alive.
func (n *Namespace) Run(f func() error) error {
	done := make(chan error, 1)
	go func() {
		defer close(done) // f may end its goroutine, as a failed test does
		done <- n.visit(f)
	}()
	return <-done
}

// visit runs on a goroutine of its own. If the thread can't return, it stays locked, and
// the runtime ends it together with the goroutine.
func (n *Namespace) visit(f func() error) error {
	runtime.LockOSThread()
	home, err := OpenThread()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if home.Inode != n.Inode {
		if err := n.Enter(); err != nil {
			runtime.UnlockOSThread()
			return err
		}
	}
	err = f()
	if home.Inode != n.Inode {
		if backErr := home.Enter(); backErr != nil {
			return errors.Join(err, backErr)
		}
	}
	runtime.UnlockOSThread()
	return err
}

// Enter moves the calling thread into the namespace. It always needs CAP_SYS_ADMIN, also
// for the namespace that the thread is in.
func (n *Namespace) Enter() error {
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	return nil
}

// FD is the descriptor of the namespace's file, for netlink. It is valid until Close.
func (n *Namespace) FD() int { return int(n.file.Fd()) }

// Close lets the namespace go.
func (n *Namespace) Close() { _ = n.file.Close() }

// Hook names the way into other network namespaces, in the manner of hooks.
const Hook = "setns"

// MayEnter returns an error when this process may not move between namespaces. It tries to
// move the thread to where it is.
func MayEnter() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := OpenThread()
	if err != nil {
		return err
	}
	defer here.Close()
	return here.Enter()
}

// Current returns the inode of the namespace that the calling thread is in.
func Current() (uint32, error) {
	inode, err := InodeAt(ThreadFile)
	if err != nil {
		return 0, fmt.Errorf("identify our network namespace: %w", err)
	}
	return inode, nil
}

// OfProcess returns the inode of the namespace that a process is in.
func OfProcess(pid uint32) (uint32, error) {
	inode, err := InodeAt(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return 0, fmt.Errorf("identify the network namespace of process %d: %w", pid, err)
	}
	return inode, nil
}

// InodeAt returns the inode at a path, whatever kind of file it is.
func InodeAt(path string) (uint32, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, err
	}
	return uint32(stat.Ino), nil
}
