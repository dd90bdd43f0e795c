// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// PlayHolder is a role: it opens COUNT connections and holds them until its input ends,
// each from the next address of POOL, beginning with the number FIRST. Without a pool the
// kernel chooses the address.
func PlayHolder(args []string) error {
	if len(args) != 2 && len(args) != 4 {
		return errors.New("usage: hold ADDRESS:PORT COUNT [POOL FIRST]")
	}
	to, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return fmt.Errorf("where to connect: %w", err)
	}
	pool, first := netip.Prefix{}, "0"
	if len(args) == 4 {
		if pool, err = netip.ParsePrefix(args[2]); err != nil {
			return fmt.Errorf("where to connect from: %w", err)
		}
		first = args[3]
	}
	numbers, err := integers(first, args[1])
	if err != nil {
		return fmt.Errorf("which connections: %w", err)
	}
	for i := range numbers[1] {
		if err := hold(to, netip.AddrPortFrom(poolAddress(pool, numbers[0]+i), 0)); err != nil {
			return err
		}
	}
	return UntilInputEnds()
}

// hold opens a connection that stays open as long as the process.
func hold(to, from netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	if err := unix.Bind(fd, SocketAddress(from)); err != nil {
		return fmt.Errorf("bind to %s: %w", from, err)
	}
	if err := unix.Connect(fd, SocketAddress(to)); err != nil {
		return fmt.Errorf("connect %s to %s: %w", from, to, err)
	}
	return nil
}

// poolAddress is one of the addresses of an IPv4 pool, or any of the host's.
func poolAddress(pool netip.Prefix, i int) netip.Addr {
	if !pool.IsValid() {
		return netip.IPv4Unspecified()
	}
	base := pool.Masked().Addr().As4()
	size := uint32(1)<<(32-pool.Bits()) - 1
	binary.BigEndian.PutUint32(base[:], binary.BigEndian.Uint32(base[:])|uint32(i)&size)
	return netip.AddrFrom4(base)
}

// SocketAddress is an IPv4 address and port as system calls take it.
func SocketAddress(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}
