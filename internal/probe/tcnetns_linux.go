// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// netNS is a network namespace, which stays alive as long as the file is open.
type netNS struct {
	file *os.File
	// inode names it among those that are alive.
	inode uint32
}

const threadNetNS = "/proc/thread-self/ns/net"

var errNoNetNS = errors.New("not a network namespace")

// openThreadNetNS opens the namespace that the calling thread is in.
func openThreadNetNS() (*netNS, error) { return openNetNS(threadNetNS) }

// openNetNS opens a namespace by its file; errNoNetNS when it is another kind of file.
func openNetNS(path string) (*netNS, error) {
	// Not to wait for a writer where a pattern matches a FIFO.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	n := &netNS{file: file}
	if n.inode, err = netNSInode(int(file.Fd())); err != nil {
		n.close()
		return nil, fmt.Errorf("open the network namespace %s: %w", path, err)
	}
	return n, nil
}

func netNSInode(fd int) (uint32, error) {
	var system unix.Statfs_t
	if err := unix.Fstatfs(fd, &system); err != nil {
		return 0, err
	}
	if system.Type != unix.NSFS_MAGIC {
		return 0, errNoNetNS
	}
	if kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return 0, errors.Join(errNoNetNS, err)
	}
	var stat unix.Stat_t
	err := unix.Fstat(fd, &stat)
	return uint32(stat.Ino), err
}

// run calls f on a thread in the namespace and waits for it. The thread goes back
// when f returns, so none is kept and none keeps the namespace alive.
func (n *netNS) run(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- n.visit(f) }()
	return <-done
}

// visit is for a goroutine of its own, which ends with it: when the way back fails,
// the runtime ends the thread, too.
func (n *netNS) visit(f func() error) error {
	runtime.LockOSThread()
	home, err := openThreadNetNS()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.close()
	if home.inode != n.inode {
		if err := n.enter(); err != nil {
			runtime.UnlockOSThread()
			return err
		}
	}
	err = f()
	if home.inode != n.inode {
		if backErr := home.enter(); backErr != nil {
			return errors.Join(err, backErr)
		}
	}
	runtime.UnlockOSThread()
	return err
}

// enter moves the calling thread. It needs CAP_SYS_ADMIN, wherever it is.
func (n *netNS) enter() error {
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	return nil
}

// setnsHook names the way into other network namespaces, as hooks are named.
const setnsHook = "setns"

// mayEnterNetNS tells whether we may move between namespaces, by moving to where
// the thread is.
func mayEnterNetNS(excluded hookPatterns) error {
	if err := excluded.refuse(setnsHook); err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := openThreadNetNS()
	if err != nil {
		return err
	}
	defer here.close()
	return here.enter()
}

func (n *netNS) close() { _ = n.file.Close() }
