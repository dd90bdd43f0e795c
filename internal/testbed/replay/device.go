// SPDX-License-Identifier: Apache-2.0

//go:build linux

package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Device is an interface whose wire is in the hands of the test. It is in the namespace of
// the thread that opened it. Nothing there answers: the addresses of a capture are not its own.
type Device struct {
	ethernet bool
	index    int
	// wire is the other end of the interface, packets sends through it.
	wire, packets int
}

// mtu is the largest of such an interface with Ethernet headers.
const mtu = 65521

// Open makes an interface, for frames with Ethernet headers or for bare IP packets.
func Open(name string, ethernet bool) (*Device, error) {
	d := &Device{ethernet: ethernet, wire: -1, packets: -1}
	if err := d.open(name); err != nil {
		return nil, errors.Join(fmt.Errorf("make an interface for a capture: %w", err), d.Close())
	}
	return d, nil
}

func (d *Device) open(name string) (err error) {
	if d.wire, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if d.ethernet {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.wire), unix.TUNSETIFF, uintptr(unsafe.Pointer(request))); errno != 0 {
		return errno
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	d.index = link.Attrs().Index
	if err := netlink.LinkSetMTU(link, mtu); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	d.packets, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	return err
}

// Send has a frame of a capture arrive, or leave if a server sent it. All programs have run
// when it returns.
func (d *Device) Send(c *Capture, f *Frame) error {
	if c.Servers[f.From] {
		return d.Leave(f.Data)
	}
	return d.Arrive(f.Data)
}

// Arrive has a frame arrive at the interface. The kernel takes it in during the system call.
func (d *Device) Arrive(frame []byte) error {
	if _, err := unix.Write(d.wire, frame); err != nil {
		return fmt.Errorf("have a frame of %d bytes arrive: %w", len(frame), err)
	}
	return nil
}

// Leave sends a frame through the interface. Nobody reads the wire, so the interface drops it
// behind the programs.
func (d *Device) Leave(frame []byte) error {
	to := &unix.SockaddrLinklayer{Ifindex: d.index, Protocol: d.protocol(frame)}
	if err := unix.Sendto(d.packets, frame, 0, to); err != nil {
		return fmt.Errorf("send a frame of %d bytes: %w", len(frame), err)
	}
	return nil
}

// protocol is that of a frame, in network byte order as a socket address has it.
func (d *Device) protocol(data []byte) uint16 {
	protocol := uint16(layers.EthernetTypeIPv4)
	switch {
	case d.ethernet:
		protocol = binary.BigEndian.Uint16(data[12:])
	case data[0]>>4 == 6:
		protocol = uint16(layers.EthernetTypeIPv6)
	}
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol))
}

// Close removes the interface. It may be called twice.
func (d *Device) Close() error {
	var failed []error
	for _, fd := range []*int{&d.wire, &d.packets} {
		if *fd >= 0 {
			failed = append(failed, unix.Close(*fd))
			*fd = -1
		}
	}
	return errors.Join(failed...)
}
