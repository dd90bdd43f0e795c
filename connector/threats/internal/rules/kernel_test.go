// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
)

// source is what a kernel reports of one source each second.
func (l *lab) source(from netip.Addr, c reading.SourceCounts) {
	l.feed(reading.Record{Event: reading.Source, Client: from, Prefix: l.PrefixOf(from), Source: c})
}

// service is what it reports of a listener on port 80, and of the namespace.
func (l *lab) service(c reading.ServiceCounts, namespace reading.ServiceCounts) {
	c.Interval, namespace.Interval = 1, 1
	l.feed(reading.Record{Event: reading.Listener, Service: namespace})
	l.feed(reading.Record{Event: reading.Listener, Server: server, Port: 80, Process: "nginx", Service: c})
	l.pass(time.Second)
}

func TestImpossibleFlagsOnThreePorts(t *testing.T) {
	for name, c := range map[string]reading.SourceCounts{
		"NULL": {Null: 1000, PortStray: 900}, "FIN": {Fin: 3, PortStray: 3}, "Xmas": {Xmas: 5, PortStray: 4},
		"SYN+FIN": {SynFin: 5, PortStray: 4}, "SYN+RST": {SynRst: 5, PortStray: 4},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.source(attacker, c)
			f := l.only(catalogue.StealthScan, attacker)
			assert.Equal(t, uint64(c.PortStray), f.Count)
		})
	}
	l := newLab(t)
	l.source(attacker, reading.SourceCounts{Null: 500, PortStray: 2})
	l.nothing()
}

func TestSegmentsOfNoConnection(t *testing.T) {
	l := newLab(t)
	for ports := int64(1); ports <= 100; ports += 33 {
		l.source(attacker, reading.SourceCounts{ResetOther: 33, PortStray: ports})
		l.pass(time.Second)
	}
	l.only(catalogue.OutOfStateScan, attacker)

	// Nine ports in a minute, one minute after the other.
	l = newLab(t)
	for ports := int64(9); ports <= 90; ports += 9 {
		l.source(attacker, reading.SourceCounts{ResetOther: 9, PortStray: ports})
		l.pass(75 * time.Second)
	}
	l.nothing()

	// A server restarts, and 500 old connections get resets on its one port.
	l = newLab(t)
	l.source(client, reading.SourceCounts{ResetOther: 500, PortStray: 1})
	l.nothing()
}

// TestAScanWithoutSYNsHasOneRule: closed ports answer its segments by resets, too, but none of them
// asked for a connection.
func TestAScanWithoutSYNsHasOneRule(t *testing.T) {
	for rule, c := range map[catalogue.ID]reading.SourceCounts{
		catalogue.StealthScan:    {Xmas: 100, ResetFlags: 99},
		catalogue.OutOfStateScan: {ResetOther: 100},
	} {
		t.Run(rule.String(), func(t *testing.T) {
			l := newLab(t)
			for ports := int64(100); ports <= 1000; ports += 100 {
				c.Ports, c.PortsFailed, c.PortStray = ports, ports-1, ports
				l.source(attacker, c)
				l.pass(time.Second)
			}
			l.only(rule, attacker)
		})
	}
}

func TestAForgedFlood(t *testing.T) {
	l := newLab(t)
	for range 60 {
		l.service(reading.ServiceCounts{Syn: 50, Completed: 50}, reading.ServiceCounts{})
	}
	for range 10 {
		l.service(reading.ServiceCounts{Syn: 30_000, Completed: 10}, reading.ServiceCounts{Cookies: 29_000, QueueFullCookies: 29_000})
	}
	f := l.only(catalogue.SYNFlood, netip.Addr{})
	assert.Equal(t, server, f.Server)
	assert.Equal(t, uint16(80), f.Port)
	assert.True(t, f.Spoofable)
}

// TestAFloodOfOneHost that answers: its kernel resets each handshake, and no cookie is sent.
func TestAFloodOfOneHost(t *testing.T) {
	l := newLab(t)
	for range 10 {
		l.service(reading.ServiceCounts{Syn: 30_000}, reading.ServiceCounts{EmbryonicResets: 30_000})
	}
	l.only(catalogue.SYNFlood, netip.Addr{})
}

// TestAFloodBesideMuchTraffic: 700 SYNs/s beside 464 handshakes/s, as measured. A part of the usual
// rate may stay open for long.
func TestAFloodBesideMuchTraffic(t *testing.T) {
	l := newLab(t)
	for range 120 {
		l.service(reading.ServiceCounts{Syn: 464, Completed: 464}, reading.ServiceCounts{})
	}
	for range 600 {
		l.service(reading.ServiceCounts{Syn: 464 + 120, Completed: 464}, reading.ServiceCounts{EmbryonicResets: 120})
	}
	l.nothing()
	for range 12 {
		l.service(reading.ServiceCounts{Syn: 464 + 700, Completed: 464}, reading.ServiceCounts{EmbryonicResets: 700})
	}
	l.only(catalogue.SYNFlood, netip.Addr{})
}

// TestProbesOfHalfAHandshake: load balancers that check a service by a SYN, and reset what answers.
func TestProbesOfHalfAHandshake(t *testing.T) {
	l := newLab(t)
	for range 3600 {
		l.service(reading.ServiceCounts{Syn: 9, Completed: 1}, reading.ServiceCounts{EmbryonicResets: 8})
	}
	l.nothing()
}

// namespace is what a kernel reports where listeners don't count their SYNs: the sources without a
// record of their own, the listener, and the namespace.
func (l *lab) namespace(rest reading.SourceCounts, counters reading.ServiceCounts) {
	rest.Rest = max(1, rest.SynListening-rest.Completed)
	l.feed(reading.Record{Event: reading.Source, Source: rest})
	l.service(reading.ServiceCounts{QueueLimit: 128}, counters)
	counters.Interval = 1
	l.feed(reading.Record{Event: reading.Listener, Service: counters})
}

func TestAFloodOfANamespace(t *testing.T) {
	l := newLab(t)
	for range 60 {
		l.namespace(reading.SourceCounts{SynListening: 50, Completed: 50}, reading.ServiceCounts{})
	}
	l.nothing()
	for range 3 {
		l.namespace(reading.SourceCounts{SynListening: 30_000, Completed: 10}, reading.ServiceCounts{Cookies: 29_000, QueueFullCookies: 29_000})
	}
	f := l.only(catalogue.SYNFlood, netip.Addr{})
	assert.False(t, f.Server.IsValid(), "nobody knows which service")
	assert.Zero(t, f.Port)

	// It begins again after its end.
	l.pass(11 * time.Minute)
	l.settle()
	for range 3 {
		l.namespace(reading.SourceCounts{SynListening: 30_000}, reading.ServiceCounts{EmbryonicResets: 30_000})
	}
	l.only(catalogue.SYNFlood, netip.Addr{})
}

// TestAFloodOfAServiceIsTheServices: where the listener counts its SYNs, the namespace has no finding
// of its own.
func TestAFloodOfAServiceIsTheServices(t *testing.T) {
	l := newLab(t)
	for range 10 {
		l.feed(reading.Record{Event: reading.Source, Source: reading.SourceCounts{Rest: 30_000, SynListening: 30_000}})
		l.service(reading.ServiceCounts{Syn: 30_000, HasSyn: true}, reading.ServiceCounts{Cookies: 29_000, QueueFullCookies: 29_000})
	}
	assert.Equal(t, uint16(80), l.only(catalogue.SYNFlood, netip.Addr{}).Port)
}

func TestAFloodWithoutTheKernelsWordIsNone(t *testing.T) {
	l := newLab(t)
	for range 60 {
		l.service(reading.ServiceCounts{Syn: 300, Completed: 0}, reading.ServiceCounts{})
	}
	l.nothing()
	l = newLab(t)
	for range 60 {
		l.namespace(reading.SourceCounts{SynListening: 300}, reading.ServiceCounts{})
	}
	l.nothing()
}

func TestAFullAcceptQueueIsOverload(t *testing.T) {
	l := newLab(t)
	for range 10 {
		for i := range 20 {
			l.source(netip.AddrFrom4([4]byte{10, 9, 2, byte(i)}), reading.SourceCounts{Completed: 2})
		}
		l.source(attacker, reading.SourceCounts{Completed: 900})
		l.service(reading.ServiceCounts{Syn: 3000, Completed: 940, Overflow: 2000, QueueLength: 129, QueueLimit: 128},
			reading.ServiceCounts{NamespaceOverflows: 2000, Cookies: 20})
	}
	f := l.only(catalogue.Overload, attacker)
	assert.Equal(t, []string{"10.9.0.66/32"}, f.Sources)
	assert.False(t, f.Spoofable)
}

func TestAcceptingTakesFarLongerThanUsual(t *testing.T) {
	l := newLab(t)
	for range 60 {
		l.service(reading.ServiceCounts{Syn: 50, Completed: 50, Accept: 0.0005}, reading.ServiceCounts{})
	}
	for range 3 {
		l.service(reading.ServiceCounts{Syn: 50, Completed: 50, Accept: 4}, reading.ServiceCounts{})
	}
	l.only(catalogue.Overload, netip.Addr{})
}

func TestSlowConnectionsToAServiceThatAnswers(t *testing.T) {
	silent := reading.SourceCounts{ReceiveRate: 400, SilentPort: 80, SilentOpen: 200}
	for _, test := range []struct {
		name    string
		service reading.ServiceCounts
		found   bool
	}{
		{"others are answered", reading.ServiceCounts{Closed: 50, ClosedAnswered: 50, Open: 203, OpenAnswered: 3}, true},
		{"others are not answered", reading.ServiceCounts{Closed: 50, Open: 230, OpenAnswered: 0}, false},
		{"there are no others", reading.ServiceCounts{Open: 200}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t)
			for range 20 {
				l.service(test.service, reading.ServiceCounts{})
				l.source(attacker, silent)
			}
			if !test.found {
				l.nothing()
				return
			}
			f := l.only(catalogue.SlowHold, attacker)
			assert.Equal(t, uint16(80), f.Port)
			assert.Equal(t, "nginx", f.Process)
			assert.False(t, f.Spoofable)
		})
	}
}

func TestCountsOfWhatNobodySendsByAccident(t *testing.T) {
	for rule, c := range map[catalogue.ID]reading.SourceCounts{
		catalogue.Land: {Land: 1}, catalogue.PortZero: {PortZero: 1}, catalogue.Malformed: {Malformed: 1},
	} {
		l := newLab(t)
		l.source(attacker, c)
		l.source(attacker, c)
		f := l.only(rule, attacker)
		assert.Equal(t, finding.Info, catalogue.All[rule].Severity)
		assert.Equal(t, uint64(1), f.Count)
	}
	l := newLab(t)
	bogon := netip.MustParseAddr("240.1.2.3")
	l.source(bogon, reading.SourceCounts{SynListening: 1})
	l.only(catalogue.Bogon, bogon)
}

// guess is one connection to sshd.
func (l *lab) ssh(from netip.Addr, received int64, seconds float64) {
	l.feed(reading.Record{
		Event: reading.ConnectionClose, Client: from, Server: server, Port: 22, Process: "sshd", Received: received, Duration: seconds,
	})
}

func TestGuessedLogins(t *testing.T) {
	l := newLab(t)
	for range 9 {
		l.ssh(attacker, 1171, 0.2)
		l.pass(20 * time.Second)
	}
	l.nothing()
	l.ssh(attacker, 1171, 0.2)
	f := l.only(catalogue.LoginGuessing, attacker)
	assert.False(t, f.Spoofable)
	assert.Equal(t, uint64(10), f.Count)

	// Another service, and fewer in ten minutes.
	l = newLab(t)
	for range 30 {
		l.feed(reading.Record{Event: reading.ConnectionClose, Client: attacker, Server: server, Port: 443, Process: "nginx", Received: 1171})
		l.ssh(client, 1171, 0.2)
		l.pass(90 * time.Second)
	}
	l.nothing()
}
