// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
)

func TestNineClosedPortsInARowAreAScan(t *testing.T) {
	l := newLab(t)
	for port := range 8 {
		l.attempt(attacker, 1+port, true)
	}
	l.nothing()
	l.attempt(attacker, 9, true)
	f := l.only(catalogue.PortScan, attacker)
	assert.Equal(t, uint64(9), f.Count)
	assert.True(t, f.Spoofable)
	assert.Greater(t, f.Confidence, 0.999)
	assert.Equal(t, start, f.First)
}

func TestAScanGrowsAndEnds(t *testing.T) {
	l := newLab(t)
	for port := range 1000 {
		l.attempt(attacker, 1+port, port != 22 && port != 80)
		l.pass(100 * time.Millisecond)
	}
	l.pass(11 * time.Minute)
	var states []finding.State
	for _, f := range l.settle() {
		require.Equal(t, catalogue.PortScan, catalogue.ID(f.Rule))
		states = append(states, f.State)
		if f.State == finding.End {
			assert.InEpsilon(t, 998, f.Count, 0.1)
		}
	}
	assert.Equal(t, []finding.State{finding.Begin, finding.Growth, finding.End}, states)
}

// TestTheSlowestScan: contacts are remembered for a day after the last, whatever lies between. Nine of
// them within an hour are one every seven and a half minutes.
func TestTheSlowestScan(t *testing.T) {
	for _, between := range []time.Duration{time.Second, time.Minute, 7*time.Minute + 29*time.Second, time.Hour, 23 * time.Hour} {
		t.Run(between.String(), func(t *testing.T) {
			l := newLab(t)
			for port := range 9 {
				l.attempt(attacker, 1+port, true)
				l.pass(between)
			}
			l.only(catalogue.PortScan, attacker)
		})
	}
}

func TestSlowScannersAreForgottenAfterADay(t *testing.T) {
	l := newLab(t)
	for port := range 20 {
		l.attempt(attacker, 1+port, true)
		l.pass(25 * time.Hour)
		l.attempt(client, 80, false)
	}
	l.nothing()
}

func TestKernelPortsAreAScan(t *testing.T) {
	l := newLab(t)
	report := func(ports, failed int64) {
		l.feed(reading.Record{
			Event: reading.Source, Client: attacker, Prefix: netip.PrefixFrom(attacker, 32),
			Source: reading.SourceCounts{Ports: ports, PortsFailed: failed, SynClosed: failed},
		})
		l.pass(time.Second)
	}
	report(3, 3)
	report(8, 8)
	// The kernel's entry begins again: these ports are no first contacts.
	report(1, 1)
	report(8, 8)
	l.nothing()
	report(500, 498)
	f := l.only(catalogue.PortScan, attacker)
	assert.Equal(t, uint64(498), f.Count)
}

// TestAScanOverThreeHosts is found where all three are seen, and nowhere else.
func TestAScanOverThreeHosts(t *testing.T) {
	gateway := newLab(t)
	for host := range 3 {
		agent := newLab(t)
		for _, l := range []*lab{gateway, agent} {
			for port := range 3 {
				l.feed(reading.Record{
					Event: reading.ConnectionFailed, Failure: reading.FailedRefused, Client: attacker, Server: server,
					Port: uint16(1 + port), Host: fmt.Sprint("host-", host), HostHash: uint64(host),
				})
			}
		}
		agent.nothing()
	}
	f := gateway.only(catalogue.PortScan, attacker)
	assert.Equal(t, []string{"host-0", "host-1", "host-2"}, f.Hosts)
}

func TestDecoysAreASet(t *testing.T) {
	l := newLab(t)
	for port := range 300 {
		for decoy := range 6 {
			l.attempt(netip.AddrFrom4([4]byte{10, 9, 1, byte(decoy)}), 1+port, true)
		}
		l.pass(10 * time.Millisecond)
	}
	f := l.only(catalogue.DistributedScan, netip.Addr{})
	assert.Equal(t, 6, f.SourceCount)
	assert.Len(t, f.Sources, 6)
	assert.True(t, f.Spoofable)
	l.pass(time.Hour)
	told := l.settle()
	require.Len(t, told, 1)
	assert.Equal(t, finding.End, told[0].State)
	assert.InEpsilon(t, 300, told[0].Count, 0.1)
}

func TestUnrelatedScannersAreNoSet(t *testing.T) {
	l := newLab(t)
	for port := range 100 {
		for scanner := range 4 {
			l.attempt(netip.AddrFrom4([4]byte{10, 9, 1, byte(scanner)}), 1+port+1000*scanner, true)
		}
	}
	told := l.settle()
	begun := 0
	for _, f := range told {
		assert.Equal(t, catalogue.PortScan, catalogue.ID(f.Rule))
		if f.State == finding.Begin {
			begun++
		}
	}
	assert.Equal(t, 4, begun)
}

func TestManySourcesWithFewPortsEach(t *testing.T) {
	l := newLab(t)
	for source := range 40 {
		for port := range 3 {
			l.attempt(netip.AddrFrom4([4]byte{10, 9, 1, byte(source)}), 100+3*source+port, true)
			l.pass(time.Second)
		}
	}
	f := l.only(catalogue.DistributedScan, netip.Addr{})
	assert.Equal(t, 20, len(f.Sources))
	assert.GreaterOrEqual(t, f.SourceCount, 17)
}

func TestIPv6SourcesAreTheirPrefix(t *testing.T) {
	l := newLab(t)
	for port := range 9 {
		l.attempt(netip.MustParseAddr(fmt.Sprintf("2a00:1:2:3::%x", 1+port)), 1+port, true)
	}
	f := l.only(catalogue.PortScan, netip.MustParseAddr("2a00:1:2:3::9"))
	assert.Equal(t, netip.MustParsePrefix("2a00:1:2:3::/64"), f.Prefix)
}

// TestLoopbackIsOfOneHost: the same address on two hosts is not the same source.
func TestLoopbackIsOfOneHost(t *testing.T) {
	l := newLab(t)
	for port := range 16 {
		l.feed(reading.Record{
			Event: reading.ConnectionFailed, Failure: reading.FailedRefused, Client: netip.MustParseAddr("127.0.0.1"),
			Server: server, Port: uint16(1 + port), HostHash: uint64(port % 2),
		})
	}
	l.nothing()
}

func TestExceptionsSilenceAndAreCounted(t *testing.T) {
	l := newLab(t, func(c *engine.Config) { c.Rules.PortScan.Except = []string{"10.9.0.0/24"} })
	for port := range 20 {
		l.attempt(attacker, 1+port, true)
	}
	l.nothing()
	assert.NotZero(t, l.Totals().Excepted[catalogue.PortScan])
}

func TestARecordFromTheFutureEndsNothing(t *testing.T) {
	l := newLab(t)
	for port := range 9 {
		l.attempt(attacker, 1+port, true)
	}
	l.only(catalogue.PortScan, attacker)
	r := reading.Record{Event: reading.ConnectionClose, Client: client, Server: server, Port: 80, Time: l.now + int64(1000*time.Hour)}
	l.Record(&r, l.now)
	assert.Empty(t, l.told)
	assert.Less(t, l.Clock(), l.now+int64(time.Hour))
}

func TestARestartNeitherForgetsNorRepeats(t *testing.T) {
	first := newLab(t)
	for port := range 8 {
		first.attempt(attacker, 1+port, true)
		first.attempt(client, 1+port, true)
	}
	first.attempt(client, 9, true)
	first.only(catalogue.PortScan, client)

	second := newLab(t)
	second.now = first.now
	second.Restore(first.Save())
	second.attempt(client, 10, true)
	second.nothing()
	second.attempt(attacker, 8, true)
	second.nothing()
	second.attempt(attacker, 9, true)
	second.only(catalogue.PortScan, attacker)
}
