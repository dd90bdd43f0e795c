// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// SYNSender sends SYNs that no socket stands behind, from any address. IPv4 only.
type SYNSender struct{ fd int }

// NewSYNSender opens a raw socket.
func NewSYNSender() (*SYNSender, error) {
	// With a header of ours; the kernel adds length, id and checksum to it, see raw(7).
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	return &SYNSender{fd}, nil
}

// Close the socket.
func (s *SYNSender) Close() { _ = unix.Close(s.fd) }

// Send one SYN.
func (s *SYNSender) Send(from, to netip.AddrPort, sequence uint32) error {
	packet := synPacket(from, to, sequence)
	if err := unix.Sendto(s.fd, packet[:], 0, &unix.SockaddrInet4{Addr: to.Addr().As4()}); err != nil {
		return fmt.Errorf("send a SYN: %w", err)
	}
	return nil
}

// synPacket is an IPv4 and a TCP header without options.
func synPacket(from, to netip.AddrPort, sequence uint32) [40]byte {
	packet := [40]byte{0: 4<<4 | 5, 8: 64, 9: unix.IPPROTO_TCP}
	source, destination := from.Addr().As4(), to.Addr().As4()
	copy(packet[12:], source[:])
	copy(packet[16:], destination[:])
	segment := packet[20:]
	binary.BigEndian.PutUint16(segment, from.Port())
	binary.BigEndian.PutUint16(segment[2:], to.Port())
	binary.BigEndian.PutUint32(segment[4:], sequence)
	segment[12], segment[13] = 5<<4, 2
	binary.BigEndian.PutUint16(segment[14:], 64240)
	binary.BigEndian.PutUint16(segment[16:], checksum(&packet))
	return packet
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

// ClosedPorts are all but the one that the server of a flood listens on.
const ClosedPorts = 65534

// FloodSources is the /10 that the spoofed clients of a flood are from: 4 million.
func FloodSources() netip.Prefix { return netip.MustParsePrefix("100.64.0.0/10") }

// Flood is SYNs that each come from another source or go to another port.
type Flood struct {
	To netip.AddrPort
	// Ports sends to every port but that of To, then once more from the next source.
	Ports bool
}

// Addresses of the SYN with that number.
func (f Flood) Addresses(i int) (from, to netip.AddrPort) {
	source, to := i, f.To
	if f.Ports {
		source = i / ClosedPorts
		port := uint16(1 + i%ClosedPorts)
		if port >= to.Port() {
			port++
		}
		to = netip.AddrPortFrom(to.Addr(), port)
	}
	base := FloodSources().Addr().As4()
	binary.BigEndian.PutUint32(base[:], binary.BigEndian.Uint32(base[:])|uint32(source)&(1<<22-1))
	return netip.AddrPortFrom(netip.AddrFrom4(base), uint16(1024+i%60000)), to
}

// PlayFlood is a role: it sends COUNT SYNs beginning with the number FIRST, evenly over a
// duration or until its input ends; as fast as it can if the duration is 0. It tells its
// Work.
func PlayFlood(args []string) error {
	if len(args) != 5 {
		return errors.New("usage: flood ADDRESS:PORT sources|ports FIRST COUNT DURATION")
	}
	to, err1 := netip.ParseAddrPort(args[0])
	numbers, err2 := integers(args[2], args[3])
	over, err3 := time.ParseDuration(args[4])
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("what to send: %w", err)
	}
	f, first, count := Flood{to, args[1] == "ports"}, numbers[0], numbers[1]
	sender, err := NewSYNSender()
	if err != nil {
		return err
	}
	defer sender.Close()
	fmt.Println("ready")
	var w Work
	begin, i := time.Now(), first
	send := func() bool {
		from, to := f.Addresses(i)
		w.Count(sender.Send(from, to, uint32(i)))
		i++
		return i < first+count
	}
	if over > 0 {
		Pace(float64(count)/over.Seconds(), InputEnds(), send)
	} else {
		for send() {
		}
	}
	w.Seconds = time.Since(begin).Seconds()
	return w.Tell()
}
