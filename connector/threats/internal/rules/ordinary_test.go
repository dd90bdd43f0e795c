// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
)

// hour is how much time the traffic of each test takes, by its records.
const hour = 3600

// TestNothingIsFoundInOrdinaryTraffic: an hour of each, second by second. Figures of records are
// those of the real programs.
func TestNothingIsFoundInOrdinaryTraffic(t *testing.T) {
	const keyLogin, answered = 3700, 300
	many := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 8, byte(i >> 8), byte(i)}) }
	closed := func(l *lab, from netip.Addr, port int, process string, received int64, seconds float64) {
		l.feed(reading.Record{
			Event: reading.ConnectionClose, Client: from, Server: server, Port: uint16(port), Process: process,
			Received: received, Duration: seconds,
		})
	}
	for name, second := range map[string]func(l *lab, s int){
		"a benchmark": func(l *lab, s int) {
			for range 30 {
				closed(l, client, 80, "nginx", answered, 0.01)
			}
			l.source(client, reading.SourceCounts{SynListening: 3000, Completed: 3000, Ports: 1, ReceiveRate: 1e6})
			l.service(reading.ServiceCounts{Syn: 3000, Completed: 3000, Closed: 3000, ClosedAnswered: 3000, Open: 50, OpenAnswered: 50, QueueLength: 40, QueueLimit: 511, Accept: 0.002}, reading.ServiceCounts{})
		},
		"health checks, by TCP and HTTP": func(l *lab, s int) {
			closed(l, client, 80, "nginx", 0, 0.0001)
			closed(l, client, 80, "nginx", 80, 0.001)
			l.request(client, "/health", 200)
			l.pass(900 * time.Millisecond)
		},
		"a monitor of three closed ports": func(l *lab, s int) {
			if s%5 == 0 {
				for port := range 3 {
					l.attempt(client, 8081+port, true)
				}
				l.source(client, reading.SourceCounts{SynClosed: 3, Ports: 3, PortsFailed: 3})
			}
			l.pass(time.Second)
		},
		"500 clients behind one address": func(l *lab, s int) {
			for i := range 120 {
				closed(l, client, 443, "nginx", 1500, float64(i%60))
			}
			l.source(client, reading.SourceCounts{SynListening: 130, Completed: 120, Ports: 2, SilentPort: 443, SilentOpen: 4, ReceiveRate: 50_000})
			l.service(reading.ServiceCounts{Syn: 130, Completed: 120, Closed: 120, ClosedAnswered: 118, Open: 500, OpenAnswered: 495, QueueLength: 3, QueueLimit: 511, Accept: 0.0004}, reading.ServiceCounts{})
		},
		"a crawler": func(l *lab, s int) {
			for i := range 5 {
				status := int64(200)
				if i == 0 {
					status = 404
				}
				l.request(client, fmt.Sprintf("/%d/%d", s, i), status)
			}
			l.pass(500 * time.Millisecond)
		},
		"idle WebSockets": func(l *lab, s int) {
			l.source(client, reading.SourceCounts{ReceiveRate: 9 * 30, SilentPort: 80, SilentOpen: 0, Ports: 1})
			l.service(reading.ServiceCounts{Open: 30, OpenAnswered: 30, QueueLimit: 511}, reading.ServiceCounts{})
		},
		"a burst of 50 logins by key": func(l *lab, s int) {
			if s%600 == 0 {
				for range 50 {
					l.ssh(client, keyLogin, 1.4)
				}
			}
			l.pass(time.Second)
		},
		"40 syslog senders behind one address": func(l *lab, s int) {
			l.source(client, reading.SourceCounts{ReceiveRate: 20_000, SilentPort: 80, SilentOpen: 40, Ports: 1})
			l.service(reading.ServiceCounts{Open: 40, OpenAnswered: 0, QueueLimit: 128}, reading.ServiceCounts{})
		},
		"checks and banner reads of sshd": func(l *lab, s int) {
			l.ssh(client, 0, 0.0002)
			l.ssh(client, 21, 0.02)
			l.pass(time.Second)
		},
		"a restart, and 40 clients that retry": func(l *lab, s int) {
			if s == 100 {
				for range 900 {
					l.attempt(client, 80, true)
				}
				for i := range 40 {
					for range 25 {
						l.attempt(many(i), 80, true)
					}
				}
				l.source(client, reading.SourceCounts{SynClosed: 900, Ports: 1, PortsFailed: 1})
			}
			l.attempt(client, 80, false)
			l.pass(time.Second)
		},
		"many clients of many ports": func(l *lab, s int) {
			for i := range 20 {
				l.attempt(many(s*20+i), 80+i, false)
			}
			l.pass(time.Second)
		},
		"scattered probes from the Internet": func(l *lab, s int) {
			if s%20 == 0 {
				ports := []int{23, 22, 445, 3389, 8080, 5900, 6379, 2375, 8443, 5060, 1433, 3306}
				l.attempt(many(s), ports[s/20%len(ports)], true)
			}
			l.pass(time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			for s := range hour {
				second(l, s)
			}
			l.nothing()
		})
	}
}

// TestOneScannerAmongManyClients tries a port every five minutes. It is all that is found.
func TestOneScannerAmongManyClients(t *testing.T) {
	l := newLab(t, func(c *engine.Config) { c.Sources = 65536 })
	for s := range hour {
		for i := range 30 {
			l.attempt(netip.AddrFrom4([4]byte{10, 8, byte(s % 200), byte(i)}), 80, false)
		}
		if s%300 == 0 {
			l.attempt(attacker, 1000+s, true)
		}
		l.pass(time.Second)
	}
	told := l.settle()
	for _, f := range told {
		if f.Source != attacker {
			t.Errorf("found %+v", f)
		}
	}
	if len(told) == 0 {
		t.Error("the scanner was not found")
	}
}
