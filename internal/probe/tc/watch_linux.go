// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package tc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watch reports changes of interfaces, addresses, local routes or forwarding, and removed or
// replaced qdiscs and filters. The state is then read again as a whole. Messages can be lost
// (ENOBUFS), but a complete reading cannot be wrong for long.
type watch struct {
	socket *os.File
	closed atomic.Bool
}

func newWatch() (*watch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	var groups uint32
	for _, group := range []int{
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF, unix.RTNLGRP_TC,
	} {
		groups |= 1 << (group - 1)
	}
	if err := onlyLocalRoutes(fd); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to interface changes: %w", err), unix.Close(fd))
	}
	return &watch{socket: os.NewFile(uintptr(fd), "netlink")}, nil
}

// lookPause is the interval of readings, for changes without a message.
const lookPause = 500 * time.Millisecond

// Wait for the end of a burst of changes, but not for ever.
const (
	burstPause = 10 * time.Millisecond
	burstMax   = 100 * time.Millisecond
)

// run calls changed at the first of a burst of changes and again after the last. Without
// changes it calls look at intervals. It returns nil when the watch is closed.
func (w *watch) run(changed, look func()) error {
	for {
		came, err := w.wait(time.Now().Add(lookPause))
		if err != nil {
			return w.unlessClosed(err)
		}
		if !came {
			look()
			continue
		}
		changed()
		end := time.Now().Add(burstMax)
		more := false
		for time.Now().Before(end) {
			came, err := w.wait(time.Now().Add(burstPause))
			if err != nil {
				return w.unlessClosed(err)
			}
			if !came {
				break
			}
			more = true
		}
		if more {
			changed()
		}
	}
}

// wait reports whether a change came before the deadline.
func (w *watch) wait(deadline time.Time) (bool, error) {
	var message [8192]byte
	if err := w.socket.SetReadDeadline(deadline); err != nil {
		return false, fmt.Errorf("wait for interface changes: %w", err)
	}
	for {
		n, err := w.socket.Read(message[:])
		switch {
		case err == nil && addsToTC(message[:n]):
			continue
		case err == nil, errors.Is(err, unix.ENOBUFS): // messages were lost: something changed
			return true, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return false, nil
		default:
			return false, fmt.Errorf("wait for interface changes: %w", err)
		}
	}
}

// addsToTC reports whether a message only adds something, as we do, and so removes nothing of
// ours. A filter can take the place of another unless the request forbade it (NLM_F_EXCL).
// The message has the flags of the request.
func addsToTC(message []byte) bool {
	const typeOffset, flagsOffset = 4, 6 // in struct nlmsghdr
	if len(message) < unix.SizeofNlMsghdr {
		return false
	}
	switch binary.NativeEndian.Uint16(message[typeOffset:]) {
	case unix.RTM_NEWQDISC, unix.RTM_NEWTCLASS, unix.RTM_NEWCHAIN:
		return true
	case unix.RTM_NEWTFILTER:
		return binary.NativeEndian.Uint16(message[flagsOffset:])&unix.NLM_F_EXCL != 0
	}
	return false
}

// unlessClosed ignores the error, because that of a deadline is no os.ErrClosed.
func (w *watch) unlessClosed(err error) error {
	if w.closed.Load() {
		return nil
	}
	return err
}

func (w *watch) close() error {
	w.closed.Store(true)
	return w.socket.Close()
}
