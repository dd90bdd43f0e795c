// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// optionSYNData of struct tcp_info: the SYN had data, and they were taken (linux/tcp.h).
const optionSYNData = 1 << 5

// fastOpenWithoutBacklog connects once over loopback and asks whether the SYN's data came.
func fastOpenWithoutBacklog() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	// Both ends, without cookies: net.ipv4.tcp_fastopen of the kernel's ip-sysctl.rst.
	err = errors.Join(err, os.WriteFile("/proc/sys/net/ipv4/tcp_fastopen", []byte("519"), 0o644))
	if err != nil {
		return fmt.Errorf("prepare a network namespace for fast open: %w", err)
	}
	address := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 7413}
	listener, err := tcpSocket()
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	err = errors.Join(unix.SetsockoptInt(listener, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 16),
		unix.Bind(listener, address), unix.Listen(listener, 0))
	if err != nil {
		return fmt.Errorf("listen for fast open: %w", err)
	}
	client, err := tcpSocket()
	if err != nil {
		return err
	}
	defer unix.Close(client)
	if err := unix.Sendto(client, []byte("request"), unix.MSG_FASTOPEN, address); err != nil {
		return fmt.Errorf("send with the SYN: %w", err)
	}
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	defer unix.Close(server)
	info, err := unix.GetsockoptTCPInfo(server, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err == nil && info.Options&optionSYNData == 0 {
		err = fmt.Errorf("the data of the SYN were not taken: %w", unix.EOPNOTSUPP)
	}
	return err
}

func tcpSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	return fd, nil
}
