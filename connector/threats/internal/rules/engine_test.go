// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is when the traffic of tests begins.
const start = int64(1_800_000_000) * int64(time.Second)

// lab is an engine with a list of what it tells. Time is that of the records.
type lab struct {
	*engine.Engine
	t    *testing.T
	now  int64
	told []*finding.Finding
}

func newLab(t *testing.T, change ...func(*engine.Config)) *lab {
	l := &lab{t: t, now: start}
	cfg := engine.Config{
		Rules: settings.Default(), IPv6Prefix: 64, Sources: 4096, Services: 256, Findings: 1024, MaxFindings: 100,
		EndAfter: 10 * time.Minute, Key: 1, Tell: func(f *finding.Finding) { l.told = append(l.told, f) },
	}
	for _, change := range change {
		change(&cfg)
	}
	l.Engine = NewEngine(cfg)
	return l
}

// pass lets time go by.
func (l *lab) pass(d time.Duration) { l.now += int64(d) }

// feed judges a record of now.
func (l *lab) feed(r reading.Record) {
	r.Time = l.now
	if r.Service.Accept == 0 {
		r.Service.Accept = -1
	}
	l.Record(&r, l.now)
}

var (
	attacker = netip.MustParseAddr("10.9.0.66")
	client   = netip.MustParseAddr("10.9.0.7")
	server   = netip.MustParseAddr("10.9.0.1")
)

// attempt is a first contact, or another.
func (l *lab) attempt(from netip.Addr, port int, failed bool) {
	r := reading.Record{Event: reading.ConnectionClose, Client: from, Server: server, Port: uint16(port), Received: 200}
	if failed {
		r.Event, r.Failure = reading.ConnectionFailed, reading.FailedRefused
	}
	l.feed(r)
}

// settle lets open questions be answered, and returns what was told.
func (l *lab) settle() []*finding.Finding {
	l.pass(time.Minute)
	l.Tick(l.now)
	told := l.told
	l.told = nil
	return told
}

// only expects one finding, of a rule about an address.
func (l *lab) only(rule catalogue.ID, from netip.Addr) *finding.Finding {
	l.t.Helper()
	told := l.settle()
	var begun []*finding.Finding
	for _, f := range told {
		if f.State == finding.Begin {
			begun = append(begun, f)
		}
	}
	require.Len(l.t, begun, 1)
	assert.Equal(l.t, rule, catalogue.ID(begun[0].Rule))
	assert.Equal(l.t, from, begun[0].Source)
	return begun[0]
}

func (l *lab) nothing() {
	l.t.Helper()
	for _, f := range l.settle() {
		assert.Fail(l.t, "found", "%s %s from %s on %s port %d: %d", catalogue.ID(f.Rule), f.State, f.Source, f.Server, f.Port, f.Count)
	}
}
