// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// floodPool has the 4 million addresses that spoofed clients are from.
const floodPool = "100.64.0.0/10"

// closedPorts are all but the one that the server listens on.
const closedPorts = 65534

// synFlood is one flood of SYNs, each of another source or to another port.
type synFlood struct {
	to netip.AddrPort
	// scan sends to all ports but that of to, from one source after the other.
	scan bool
}

// runFlood sends as many SYNs as asked for, as fast as it can, and prints how many
// were sent within how many seconds. No socket stands behind them.
func runFlood(args []string) error {
	if len(args) != 4 {
		return errors.New("usage: flood ADDRESS:PORT sources|ports FIRST COUNT")
	}
	to, err := netip.ParseAddrPort(args[0])
	first, err1 := strconv.Atoi(args[2])
	count, err2 := strconv.Atoi(args[3])
	if err := errors.Join(err, err1, err2); err != nil {
		return fmt.Errorf("what to send: %w", err)
	}
	// With a header of ours; the kernel adds length, id and checksum to it, see raw(7).
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("open a raw socket: %w", err)
	}
	defer unix.Close(fd)
	f := synFlood{to, args[1] == "ports"}
	address := socketAddress(netip.AddrPortFrom(to.Addr(), 0))
	var packet [40]byte
	start := time.Now()
	for i := first; i < first+count; i++ {
		f.put(&packet, i)
		if err := unix.Sendto(fd, packet[:], 0, address); err != nil {
			return fmt.Errorf("send the SYN %d: %w", i, err)
		}
	}
	fmt.Printf("sent %d\nwithin %f\n", count, time.Since(start).Seconds())
	return nil
}

// put writes the IPv4 and TCP headers of the SYN with that number.
func (f synFlood) put(packet *[40]byte, i int) {
	source, destination := i, f.to.Port()
	if f.scan {
		source = i / closedPorts
		if destination = uint16(1 + i%closedPorts); destination >= f.to.Port() {
			destination++
		}
	}
	pool := netip.MustParsePrefix(floodPool).Addr().As4()
	server := f.to.Addr().As4()
	*packet = [40]byte{0: 0x45, 8: 64, 9: unix.IPPROTO_TCP}
	binary.BigEndian.PutUint32(packet[12:], binary.BigEndian.Uint32(pool[:])|uint32(source)&(1<<22-1))
	copy(packet[16:], server[:])
	segment := packet[20:]
	binary.BigEndian.PutUint16(segment, uint16(1024+i%60000))
	binary.BigEndian.PutUint16(segment[2:], destination)
	binary.BigEndian.PutUint32(segment[4:], uint32(i))
	segment[12], segment[13] = 5<<4, 2 // no options, SYN
	binary.BigEndian.PutUint16(segment[14:], 64240)
	binary.BigEndian.PutUint16(segment[16:], checksum(packet))
}

// checksum is TCP's for a segment without payload, whose own checksum is still zero.
func checksum(packet *[40]byte) uint16 {
	sum := uint32(unix.IPPROTO_TCP + 20)
	for i := 12; i < len(packet); i += 2 { // addresses and segment
		sum += uint32(binary.BigEndian.Uint16(packet[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
