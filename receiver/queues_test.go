// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

const (
	acceptLength    = "tcp.server.accept_queue.length"
	acceptLimit     = "tcp.server.accept_queue.limit"
	acceptOverflows = "tcp.server.accept_queue.overflows"
	synLength       = "tcp.server.syn_queue.length"
)

func TestMetricsOfListeners(t *testing.T) {
	const executable = "process.executable.name"
	sink := &consumertest.MetricsSink{}
	r := newReceiverUnderTest(t, testConfig(), nil, sink)
	r.env.prepare = func(k *fakeKernel) {
		_, k.known = k.listen()
		k.queues = []connection.Queues{{Socket: 1, Since: 1, Accept: 3, AcceptLimit: 128, SYN: 2, Overflows: 5}}
	}
	k := r.start(t)
	value := func(name string) func() map[string]int64 {
		return func() map[string]int64 {
			if sink.DataPointCount() == 0 {
				return nil
			}
			return points(lastOf(t, sink), name, executable)
		}
	}
	length, limit, overflows, handshakes := value(acceptLength), value(acceptLimit), value(acceptOverflows), value(synLength)
	waitFor(t, "the first look", func() bool { return length()["nginx"] == 3 })
	assert.Equal(t, map[string]int64{"nginx": 128}, limit())
	assert.Equal(t, map[string]int64{"nginx": 2}, handshakes())
	assert.Equal(t, map[string]int64{"nginx": 5}, overflows())

	// A pass that misses the listener says nothing; the last look stands.
	k.look()
	k.mu.Lock()
	missing := k.snapshots
	k.mu.Unlock()
	waitFor(t, "passes without it", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.snapshots > missing+2
	})
	assert.Equal(t, map[string]int64{"nginx": 3}, length())

	k.look(connection.Queues{Socket: 1, Since: 1, Accept: 129, AcceptLimit: 128, Overflows: 8},
		connection.Queues{Socket: 2, Since: 1, Accept: 1000, Overflows: 1000}) // nobody told of it
	waitFor(t, "the next look", func() bool { return length()["nginx"] == 129 })
	assert.Equal(t, map[string]int64{"nginx": 8}, overflows())
	assert.Equal(t, map[string]int64{"nginx": 0}, handshakes())

	// The end has the last word on what was turned away.
	k.produce(func(h fact.Sink) { h.ListenerClosed(1, 11) }, func(h fact.Sink) { h.ListenerClosed(1, 0) })
	waitFor(t, "the queues' series end", func() bool { return len(length()) == 0 })
	assert.Empty(t, limit())
	assert.Empty(t, handshakes())
	assert.Equal(t, map[string]int64{"nginx": 11}, overflows())
	require.NoError(t, r.Shutdown(t.Context()))
}

// TestListenersWithoutMetrics: nobody asks for their queues.
func TestListenersWithoutMetrics(t *testing.T) {
	h, _ := testHandler(createDefaultConfig())
	h.metrics = nil
	_, facts := newFakeKernel(t).listen()
	for _, fact := range facts {
		fact(h)
	}
	h.snapshot(&probe.Snapshot{Queues: []connection.Queues{{Socket: 1, Overflows: 5}}})
	h.ListenerClosed(1, 7)
}

// TestOverflowsOfNoKnownListener: they have a series of their namespace without a port,
// which begins at 0; listeners of a namespace that was not read have none.
func TestOverflowsOfNoKnownListener(t *testing.T) {
	h, _ := testHandler(createDefaultConfig())
	require.NotNil(t, h.metrics)
	_, facts := newFakeKernel(t).listen()
	for _, fact := range facts {
		fact(h)
	}
	look := func(unread bool, n uint64) map[string]int64 {
		own := uint64(2)
		if unread {
			own = 0
		}
		h.snapshot(&probe.Snapshot{
			Queues:    []connection.Queues{{Socket: 1, Since: 1, Overflows: own, OverflowsUnread: unread}},
			Overflows: []connection.Overflow{{NetNS: 77, N: n}},
		})
		series := map[string]int64{}
		for _, message := range h.metrics.Snapshot(time.Now()) {
			for _, resource := range message.ResourceMetrics().All() {
				for _, m := range resource.ScopeMetrics().At(0).Metrics().All() {
					if m.Name() != acceptOverflows {
						continue
					}
					for _, p := range m.Sum().DataPoints().All() {
						name := ""
						if port, ok := p.Attributes().Get("server.port"); ok {
							name = port.AsString()
						}
						series[name] += p.IntValue()
					}
				}
			}
		}
		return series
	}
	assert.Equal(t, map[string]int64{"": 0}, look(true, 0))
	assert.Equal(t, map[string]int64{"": 4, "80": 2}, look(false, 4))
	assert.Equal(t, map[string]int64{"": 7, "80": 2}, look(true, 3))
}
