// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// roles are what this program does as a process of its own beside a measurement.
func roles() map[string]lab.Role {
	return map[string]lab.Role{
		"hold-server": playHoldServer,
		"hold-client": lab.PlayHolder,
		"sink":        playSink,
		"flood":       lab.PlayFlood,
	}
}

// act starts a role in a namespace and waits until it is ready.
func act(ctx context.Context, in lab.Namespace, role string, args ...string) (*lab.Actor, error) {
	a, err := in.Act(role, args...)
	if err != nil {
		return nil, err
	}
	if err := a.Ready(ctx); err != nil {
		a.Kill()
		return nil, err
	}
	return a, nil
}

// playHoldServer accepts connections at an address and port until its input ends.
func playHoldServer(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: hold-server ADDRESS:PORT")
	}
	at, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return fmt.Errorf("where to listen: %w", err)
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	if err := unix.Bind(listener, lab.SocketAddress(at)); err != nil {
		return fmt.Errorf("bind to %s: %w", at, err)
	}
	// Those that it accepts inherit it: they end by a reset, and leave nothing behind.
	if err := unix.SetsockoptLinger(listener, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return fmt.Errorf("have connections end by reset: %w", err)
	}
	if err := unix.Listen(listener, unix.SOMAXCONN); err != nil {
		return fmt.Errorf("listen at %s: %w", at, err)
	}
	failed := make(chan error)
	go func() {
		for {
			if _, _, err := unix.Accept(listener); err != nil {
				failed <- fmt.Errorf("accept at %s: %w", at, err)
				return
			}
		}
	}()
	go func() { failed <- lab.UntilInputEnds() }()
	return <-failed
}
