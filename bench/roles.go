// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// roles are what this program does as a process of its own beside a measurement. Those
// that serve or hold something print "ready" when they do, and end with their standard
// input; flood ends when it has sent what it was asked for.
var roles = map[string]func([]string) error{
	"hold-server": holdServer,
	"hold-client": holdClient,
	"sink":        runSink,
	"flood":       runFlood,
}

// holdServer accepts connections at an address and port until its input ends.
func holdServer(args []string) error {
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
	if err := unix.Bind(listener, socketAddress(at)); err != nil {
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
	go func() { failed <- untilInputEnds() }()
	return <-failed
}

// holdClient opens connections from as many addresses of the pool as there are, one
// after the other, beginning with the given one.
func holdClient(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: hold-client ADDRESS:PORT FIRST COUNT")
	}
	to, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return fmt.Errorf("where to connect: %w", err)
	}
	first, err1 := strconv.Atoi(args[1])
	count, err2 := strconv.Atoi(args[2])
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("which connections: %w", err)
	}
	for i := first; i < first+count; i++ {
		if err := holdOne(to, netip.AddrPortFrom(poolAddress(i), 0)); err != nil {
			return err
		}
	}
	return untilInputEnds()
}

// holdOne opens a connection that stays open as long as the process.
func holdOne(to, from netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	if err := unix.Bind(fd, socketAddress(from)); err != nil {
		return fmt.Errorf("bind to %s: %w", from, err)
	}
	if err := unix.Connect(fd, socketAddress(to)); err != nil {
		return fmt.Errorf("connect %s to %s: %w", from, to, err)
	}
	return nil
}

// poolAddress is one of the 65536 addresses of the client's pool.
func poolAddress(i int) netip.Addr {
	base := netip.MustParsePrefix(clientPool).Addr().As4()
	binary.BigEndian.PutUint16(base[2:], uint16(i))
	return netip.AddrFrom4(base)
}

func socketAddress(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

func untilInputEnds() error {
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
