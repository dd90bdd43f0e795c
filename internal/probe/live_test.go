// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// holding follows sources that hold at least so many connections.
func holding(open int) func(*Config) {
	return countingSources(func(s *Sources) {
		s.MinAttempts, s.SilentAge, s.Services = open, 300*time.Millisecond, true
	})
}

// lately is the last record of a source that has figures of open connections.
func (r *recorder) lately() *source.Source {
	for i := len(r.sources) - 1; i >= 0; i-- {
		if r.sources[i].Live != nil {
			return &r.sources[i]
		}
	}
	return &source.Source{Live: &source.Live{}}
}

// TestLiveFactsOfSources: connections that a client holds open, by each way to read them. Two of
// four sent something and got nothing, one got something, one is idle.
func TestLiveFactsOfSources(t *testing.T) {
	const port = 27185
	eachLook(t, testConfig(onlyPort(port), holding(4)), func(t *testing.T, k *kernel, reads bool) {
		l := listen(t, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		for _, bytes := range [][2]int{{10, 20}, {0, 0}, {10, 0}} {
			client, server := connect(t, l, "127.0.0.1")
			send(t, client, server, bytes[0])
			send(t, server, client, bytes[1])
		}
		slow, server := connect(t, l, "127.0.0.1")
		send(t, slow, server, 10)
		k.until("look at old connections", func() bool {
			live := k.lately().Live
			return live.Open == 4 && (live.Unread || live.PortSilent == 2)
		})
		got := k.lately()
		assert.Equal(t, "127.0.0.1/32", got.Prefix.String())
		require.Equal(t, !reads, got.Live.Unread)
		service := &k.services[len(k.services)-1]
		require.NotNil(t, service.Open)
		assert.EqualValues(t, 4, *service.Open)
		if !reads {
			assert.Nil(t, service.OpenAnswered)
			return
		}
		assert.EqualValues(t, 1, *service.OpenAnswered)
		assert.EqualValues(t, 3, got.Live.Silent, "the idle one, too")
		assert.EqualValues(t, port, got.Live.Port)
		send(t, slow, server, 1000)
		k.until("rate", func() bool { return k.lately().Live.ReceiveRate > 0 })
		assert.Zero(t, k.lately().Counts, "it holds connections, and makes none")
	})
}

// TestLiveFactsOfConnectionsFromBefore: who held connections before the programs came is not
// followed, and known by them alone.
func TestLiveFactsOfConnectionsFromBefore(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp6", "[::1]:0")
	for range 3 {
		client, server := connect(t, l, "::1")
		send(t, client, server, 10)
	}
	k := startProbe(t, testConfig(onlyPort(portOf(l.Addr())), holding(3)), hook.FeatureExistingConnection)
	k.until("silent connections", func() bool { return k.lately().Live.PortSilent == 3 })
	got := k.lately()
	assert.Equal(t, "::/64", got.Prefix.String())
	assert.Nil(t, got.Ports)
	assert.True(t, got.Absent.Has(source.Completed))
	assert.EqualValues(t, 3, got.Live.Open)
}

// TestAnsweredConnectionsOfServices: how many connections ended, and how many of these were
// answered, and how long they waited to be accepted.
func TestAnsweredConnectionsOfServices(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	listen(t, "tcp4", fmt.Sprintf("127.0.0.2:%d", portOf(l.Addr())))
	k := startProbe(t, testConfig(onlyPort(portOf(l.Addr())), holding(1)), hook.FeatureAccept)
	for answer := range 3 {
		client, server := connect(t, l, "127.0.0.1")
		send(t, server, client, answer)
		finish(t, client, server)
	}
	var closed, answered, completed uint64
	var accept time.Duration
	seen := 0
	k.until("closes", func() bool {
		for ; seen < len(k.services); seen++ {
			s := &k.services[seen]
			if s.Closed != nil {
				closed, answered = closed+*s.Closed, answered+*s.ClosedAnswered
			}
			if s.Completed != nil {
				completed += *s.Completed
			}
			accept = max(accept, s.Accept)
		}
		return closed == 3
	})
	assert.EqualValues(t, 2, answered)
	assert.EqualValues(t, 3, completed)
	assert.Positive(t, accept)
}
