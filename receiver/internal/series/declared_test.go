// SPDX-License-Identifier: Apache-2.0

package series

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

// namespaces feeds all counters of a network namespace.
func namespaces(m *Metrics) {
	one := uint64(1)
	m.Namespace(&source.Namespace{Counters: [source.NamespaceCounters]*uint64{&one, &one, &one, &one, &one}})
}

func TestMetricsAreAsDeclared(t *testing.T) {
	d := facttest.Declared(t)
	got := facttest.Emitted{}
	gather := func(data pmetric.Metrics) {
		each(data, func(_ pcommon.Resource, m pmetric.Metric) {
			metric, ok := d.Metrics[m.Name()]
			require.True(t, ok, "%s is not declared", m.Name())
			require.Equal(t, metric.Description, m.Description())
			require.Equal(t, metric.Unit, m.Unit())
			allowed := d.Names(metric.Attributes)
			if metric.Histogram != nil {
				for _, p := range m.Histogram().DataPoints().All() {
					got.Add(t, m.Name(), p.Attributes(), allowed)
				}
				return
			}
			require.Equal(t, metric.Sum.Monotonic, m.Sum().IsMonotonic(), m.Name())
			for _, p := range m.Sum().DataPoints().All() {
				got.Add(t, m.Name(), p.Attributes(), allowed)
			}
		})
	}
	known := newRig(Options{}, withActiveRequests)
	everything(known.Metrics)
	s := web()
	requests(known.Metrics)
	handshakes(known.Metrics)
	for what := connection.Retransmits; what <= connection.Failures; what++ {
		known.AddCount(s, what, "", 1)
	}
	for class := range packet.Classes {
		i := packet.Interface{Name: "eth1", NetNS: 4026532000}
		i.Packets[class], i.Bytes[class] = 1, 60
		known.SetInterface(i)
	}
	for malformed := packet.WellFormed + 1; malformed < packet.MalformedKinds; malformed++ {
		i := packet.Interface{Name: "eth2", NetNS: 4026532000, Fragments: 1, Forwarded: 1}
		i.Malformed[malformed] = 1
		known.SetInterface(i)
	}
	namespaces(known.Metrics)
	s.Network = "10.0.0.0/8"
	known.IO(s, 0, 1, 1)
	known.Closed(s, facttest.Closed())
	known.AddActive(s, 1)
	gather(known.pass(time.Second))
	over := newRig(Options{SeriesLimit: -1}, withActiveRequests)
	everything(over.Metrics)
	handshakes(over.Metrics)
	requests(over.Metrics)
	namespaces(over.Metrics)
	gather(over.pass(time.Second))

	require.Equal(t, facttest.Keys(d.Metrics), facttest.Keys(got))
	for name, metric := range d.Metrics {
		require.Equal(t, facttest.Keys(d.Names(metric.Attributes)), facttest.Keys(got[name]), name)
	}
}

// TestOwnAttributes: a series has room for the attributes of its own metric.
func TestOwnAttributes(t *testing.T) {
	d := facttest.Declared(t)
	for id := range declared.Metrics {
		own := ownOf(id)
		require.LessOrEqual(t, len(own.texts), maxTexts, id)
		numbers := 0
		for name, attribute := range d.Names(d.Metrics[id.String()].Attributes) {
			if attribute.Type == "int" && name != "server.port" && name != "tcp.netns.inode" {
				require.Equal(t, own.number, name, id)
				numbers++
			}
		}
		require.LessOrEqual(t, numbers, 1, id)
	}
}
