// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// churnWorkers bounds the connections of playChurn that are open at one time.
const churnWorkers = 16

// playChurn opens short connections to HTTP servers in turns until its standard input ends. It
// opens at most perSecond a second, and fewer if the servers are slower.
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
	stop, i := lab.InputEnds(), 0
	lab.Pace(rate, stop, func() bool {
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
	return (&lab.Work{Done: done.Load(), Failed: failed.Load()}).Tell()
}

// fetch opens one connection and waits for its end, which may be a reset.
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

// scanPerSecond is how fast playScan is.
const scanPerSecond = 20000

// playScan sends a SYN to every port of a host, and starts over after a while, until
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
	from, err := addressTowards(to)
	if err != nil {
		return err
	}
	sender, err := lab.NewSYNSender()
	if err != nil {
		return err
	}
	defer sender.Close()
	fmt.Println("ready")
	stop := lab.InputEnds()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var sum lab.Work
	for source := uint16(61000); ; source++ {
		port := 0
		lab.Pace(scanPerSecond, stop, func() bool {
			port++
			sum.Count(sender.Send(netip.AddrPortFrom(from, source), netip.AddrPortFrom(to, uint16(port)), 1000))
			return port < 65535
		})
		select {
		case <-ticker.C:
		case <-stop:
			return sum.Tell()
		}
	}
}

// playListeners opens one listener after the other, each for one connection, and keeps a few
// open. It runs until its standard input ends.
func playListeners(address, firstPort string) error {
	first, err := strconv.Atoi(firstPort)
	if err != nil {
		return err
	}
	const ports, open, perSecond = 500, 8, 50
	fmt.Println("ready")
	var sum lab.Work
	var listeners []net.Listener
	i := 0
	lab.Pace(perSecond, lab.InputEnds(), func() bool {
		at := net.JoinHostPort(address, strconv.Itoa(first+i%ports))
		i++
		listener, err := net.Listen("tcp", at)
		if err != nil {
			sum.Failed++
			return true
		}
		sum.Count(callOnce(listener))
		if listeners = append(listeners, listener); len(listeners) > open {
			_ = listeners[0].Close()
			listeners = listeners[1:]
		}
		return true
	})
	return sum.Tell()
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
