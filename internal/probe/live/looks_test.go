// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package live

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

const second = uint64(time.Second)

func look(id, opened, received, sent uint64) *shared.LiveRecord {
	r := &shared.LiveRecord{
		Look:       shared.ConnectionLook{Id: id, RxBytes: received, TxBytes: sent, Outcome: uint32(shared.LookOutcomeRead)},
		Connection: shared.Connection{Id: id, Opened: opened, Netns: 1},
	}
	r.Connection.Flow.Remote = [16]uint8{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 7}
	r.Connection.Flow.LocalPort = 80
	return r
}

func looksFor(records ...*shared.LiveRecord) (*Looks, *shared.SourceKey) {
	l := New(Options{Mask: [2]uint64{^uint64(0), 0}, Clients: true, Services: true})
	c := &look(1, 0, 0, 0).Connection
	key := shared.SourceKeyOf(&c.Flow.Remote, c.Netns, &l.options.Mask)
	l.at(1, records...)
	return l, &key
}

// at looks at a time of the boot clock, in minutes.
func (l *Looks) at(minute uint64, records ...*shared.LiveRecord) {
	start := time.Now()
	l.Begin(start, minute*60*second)
	for _, r := range records {
		l.Take(r)
	}
	l.End(start, nil)
}

func TestRateBetweenLooks(t *testing.T) {
	l, key := looksFor(look(1, 1, 600, 0))
	assert.Less(t, l.Client(key).ReceiveRate, 0., "not known at the first look")
	// One has sent 600 more, one is new, one was missed before.
	found := look(4, 100*second, 7000, 0)
	found.Connection.Flags = uint32(shared.ConnectionFlagAdopted)
	l.at(2, look(1, 1, 1200, 0), look(2, 100*second, 60, 0), look(3, 1, 5000, 0), found)
	c := l.Client(key)
	assert.InDelta(t, 11, c.ReceiveRate, 1e-9)
	assert.EqualValues(t, 4, c.Open)
}

func TestALookThatFails(t *testing.T) {
	l, key := looksFor(look(1, 1, 600, 0))
	l.Spend()
	l.Begin(time.Now(), 90*second)
	l.Take(look(1, 1, 900, 0))
	l.End(time.Now(), errors.New("refused"))
	assert.Nil(t, l.Client(key))
	_, open := l.Service(shared.PortKey{Netns: 1, Port: 80})
	assert.False(t, open)
	l.at(2, look(1, 1, 1200, 0))
	assert.InDelta(t, 10, l.Client(key).ReceiveRate, 1e-9, "since the look that did not fail")
}

func TestSilentConnections(t *testing.T) {
	ended, unread, gone := look(4, 1, 5, 0), look(5, 1, 0, 0), look(6, 1, 0, 0)
	ended.Connection.Flags = uint32(shared.ConnectionFlagServerFin)
	unread.Look.Outcome, gone.Look.Outcome = uint32(shared.LookOutcomeUnread), uint32(shared.LookOutcomeGone)
	other := look(7, 1, 5, 0)
	other.Connection.Flow.LocalPort = 81
	l, key := looksFor(look(1, 1, 5, 0), look(2, 1, 0, 0), look(3, 1, 5, 1), ended, gone, other, look(8, 51*second, 5, 0), look(9, 1, 5, 0))
	c := l.Client(key)
	assert.EqualValues(t, 4, c.Silent)
	assert.EqualValues(t, 80, c.Port)
	assert.EqualValues(t, 2, c.PortSilent, "both have sent something")
	assert.EqualValues(t, 7, c.Open)
	assert.False(t, c.Unread)
	l.at(1, unread)
	assert.True(t, l.Client(key).Unread)
}

func TestOnePassOfTwo(t *testing.T) {
	l, key := looksFor(look(1, 1, 0, 0))
	assert.False(t, l.Due(time.Now().Add(time.Hour)), "somebody has looked")
	l.Spend()
	assert.Nil(t, l.Client(key))
	assert.True(t, l.Holds(key))
	start := time.Now()
	l.Begin(start, 60*second)
	l.End(start.Add(time.Second), nil)
	l.Spend()
	assert.False(t, l.Due(start.Add(49*time.Second)), "a look of a second")
	assert.True(t, l.Due(start.Add(50*time.Second)))
	assert.False(t, (*Looks)(nil).Due(start))
}

func TestServices(t *testing.T) {
	accepted := look(1, 5*second, 1, 1)
	accepted.Connection.Accepted = 5*second + 300
	l, _ := looksFor(accepted, look(2, 1, 1, 0))
	end := func(accepted, sent uint64) {
		r := &shared.CloseRecord{Connection: look(3, 61*second, 0, 0).Connection}
		r.Connection.Accepted, r.Counters.TxBytes = accepted, sent
		l.Closed(r)
	}
	end(61*second+100, 5)
	end(61*second+200, 0)
	end(0, 0)
	key := shared.PortKey{Netns: 1, Port: 80}
	s, open := l.Service(key)
	require.True(t, open)
	assert.Equal(t, []uint64{2, 1, 3, 1}, []uint64{s.Open, s.Answered, s.Closed, s.ClosedAnswered})
	assert.Equal(t, 200*time.Nanosecond, s.Accept())
	l.SpendServices()
	s, _ = l.Service(key)
	assert.Equal(t, []uint64{2, 1, 0, 0}, []uint64{s.Open, s.Answered, s.Closed, s.ClosedAnswered})
	assert.Zero(t, s.Accept())
	l.at(2)
	l.SpendServices()
	assert.Empty(t, l.services)
}

func TestManyTimesInTheQueue(t *testing.T) {
	var s Service
	for n := range 10_000 {
		s.accepted.add(int64(n))
	}
	assert.Len(t, s.accepted.sample, sampled)
	assert.InDelta(t, 5000, float64(s.Accept()), 3000)
}

// BenchmarkLooks is one connection of 100,000, of 1,000 clients.
func BenchmarkLooks(b *testing.B) {
	const connections, clients = 100_000, 1000
	l := New(Options{Mask: [2]uint64{^uint64(0), 0}, Clients: true, Services: true})
	r := look(1, 1, 5, 0)
	for n := 0; b.Loop(); n++ {
		if n%connections == 0 {
			l.Begin(time.Now(), 60*second)
		}
		id := n % connections
		r.Look.Id, r.Connection.Id = uint64(id), uint64(id)
		r.Connection.Flow.Remote[14], r.Connection.Flow.Remote[15] = uint8(id%clients>>8), uint8(id%clients)
		l.Take(r)
	}
}
