// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// work is what a role of this file has done in the end.
type work struct{ Done, Failed int64 }

// inputEnds is closed when standard input ends.
func inputEnds() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	return ended
}

// pace calls do perSecond times a second, and at once as often as it is behind, until
// do returns false or stop is closed.
func pace(perSecond float64, stop <-chan struct{}, do func() bool) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	begin, done := time.Now(), 0
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		for due := int(time.Since(begin).Seconds() * perSecond); done < due; done++ {
			if !do() {
				return
			}
		}
	}
}

// churnWorkers bounds the connections of playChurn that are open at one time.
const churnWorkers = 16

// playChurn makes short connections to HTTP servers, one after the other, at most so
// many a second, until its standard input ends. A server that is slower gets fewer.
func playChurn(perSecond string, targets []string) error {
	rate, err := strconv.ParseFloat(perSecond, 64)
	if err != nil {
		return err
	}
	var done, failed atomic.Int64
	var workers sync.WaitGroup
	next := make(chan string)
	for range churnWorkers {
		workers.Go(func() {
			for target := range next {
				if fetch(target) == nil {
					done.Add(1)
				} else {
					failed.Add(1)
				}
			}
		})
	}
	fmt.Println("ready")
	stop, i := inputEnds(), 0
	pace(rate, stop, func() bool {
		select {
		case next <- targets[i%len(targets)]:
			i++
			return true
		case <-stop:
			return false
		}
	})
	close(next)
	workers.Wait()
	return json.NewEncoder(os.Stdout).Encode(work{done.Load(), failed.Load()})
}

// fetch makes one connection and waits for its end, by reset where the server likes
// that better.
func fetch(target string) error {
	conn, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	if _, err = io.Copy(io.Discard, conn); errors.Is(err, unix.ECONNRESET) {
		return nil
	}
	return err
}

// floodSources is the /10 that spoofed clients are from: 4 million.
var floodSources = netip.MustParsePrefix("100.64.0.0/10")

// floodSource is the address of one of them.
func floodSource(i int) netip.Addr {
	first := floodSources.Addr().As4()
	number := binary.BigEndian.Uint32(first[:]) | uint32(i)&(1<<22-1)
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, number)))
}

// playFlood sends one SYN from each of so many spoofed sources, evenly over a time,
// or until its standard input ends.
func playFlood(target, sources, duration string) error {
	to, err := netip.ParseAddrPort(target)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(sources)
	if err != nil {
		return err
	}
	over, err := time.ParseDuration(duration)
	if err != nil {
		return err
	}
	sender, err := newSYNSender()
	if err != nil {
		return err
	}
	defer sender.close()
	fmt.Println("ready")
	var sum work
	pace(float64(n)/over.Seconds(), inputEnds(), func() bool {
		i := int(sum.Done + sum.Failed)
		sum.count(sender.send(netip.AddrPortFrom(floodSource(i), uint16(1024+i%60000)), to))
		return i+1 < n
	})
	return json.NewEncoder(os.Stdout).Encode(sum)
}

func (w *work) count(err error) {
	if err != nil {
		w.Failed++
	} else {
		w.Done++
	}
}

// scanPerSecond is how fast playScan is.
const scanPerSecond = 20000

// playScan sends a SYN to every port of a host, and begins anew after a while, until
// its standard input ends. It counts SYNs.
func playScan(host, interval string) error {
	to, err := netip.ParseAddr(host)
	if err != nil {
		return err
	}
	every, err := time.ParseDuration(interval)
	if err != nil {
		return err
	}
	probe, err := net.Dial("udp4", net.JoinHostPort(host, "9"))
	if err != nil {
		return err
	}
	from := probe.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	_ = probe.Close()
	sender, err := newSYNSender()
	if err != nil {
		return err
	}
	defer sender.close()
	fmt.Println("ready")
	stop := inputEnds()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var sum work
	for source := uint16(61000); ; source++ {
		port := 0
		pace(scanPerSecond, stop, func() bool {
			port++
			sum.count(sender.send(netip.AddrPortFrom(from, source), netip.AddrPortFrom(to, uint16(port))))
			return port < 65535
		})
		select {
		case <-ticker.C:
		case <-stop:
			return json.NewEncoder(os.Stdout).Encode(sum)
		}
	}
}

// playListeners listens on one port of an address after the other, takes one
// connection and ends, a few at a time, until its standard input ends.
func playListeners(address, firstPort string) error {
	first, err := strconv.Atoi(firstPort)
	if err != nil {
		return err
	}
	const ports, open, perSecond = 500, 8, 50
	fmt.Println("ready")
	var sum work
	var listeners []net.Listener
	i := 0
	pace(perSecond, inputEnds(), func() bool {
		at := net.JoinHostPort(address, strconv.Itoa(first+i%ports))
		i++
		listener, err := net.Listen("tcp", at)
		if err != nil {
			sum.Failed++
			return true
		}
		sum.count(callOnce(listener))
		if listeners = append(listeners, listener); len(listeners) > open {
			_ = listeners[0].Close()
			listeners = listeners[1:]
		}
		return true
	})
	return json.NewEncoder(os.Stdout).Encode(sum)
}

func callOnce(listener net.Listener) error {
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	accepted, err := listener.Accept()
	if err != nil {
		return err
	}
	return accepted.Close()
}

// synSender sends SYNs that no socket stands behind, from any address. IPv4 only.
type synSender struct{ fd int }

func newSYNSender() (*synSender, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	return &synSender{fd}, nil
}

func (s *synSender) close() { _ = unix.Close(s.fd) }

func (s *synSender) send(from, to netip.AddrPort) error {
	const header = 20
	var packet [2 * header]byte
	// The kernel fills in length, id and checksum of the IP header; see raw(7).
	packet[0], packet[8], packet[9] = 4<<4|header/4, 64, unix.IPPROTO_TCP
	source, destination := from.Addr().As4(), to.Addr().As4()
	copy(packet[12:], source[:])
	copy(packet[16:], destination[:])
	segment := packet[header:]
	binary.BigEndian.PutUint16(segment[0:], from.Port())
	binary.BigEndian.PutUint16(segment[2:], to.Port())
	binary.BigEndian.PutUint32(segment[4:], 1000)
	segment[12], segment[13] = header/4<<4, 0x02
	binary.BigEndian.PutUint16(segment[14:], 64240)
	binary.BigEndian.PutUint16(segment[16:], checksum(from.Addr(), to.Addr(), segment))
	return unix.Sendto(s.fd, packet[:], 0, &unix.SockaddrInet4{Addr: destination})
}
