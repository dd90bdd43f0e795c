// SPDX-License-Identifier: Apache-2.0

package series

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/filter"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

// rig is Metrics with a clock that the test moves.
type rig struct {
	*Metrics
	now time.Time
}

func newRig(options Options, change ...func(*metadata.MetricsBuilderConfig)) *rig {
	r := &rig{now: time.Unix(0, facttest.Epoch)}
	config := metadata.NewDefaultMetricsBuilderConfig()
	for _, f := range change {
		f(&config)
	}
	options.OwnNetNS = cmp.Or(options.OwnNetNS, facttest.OwnNetNS)
	options.HostName, options.Version = cmp.Or(options.HostName, "web-1"), "1.2.3"
	options.Now = func() time.Time { return r.now }
	if options.SeriesLimit == 0 {
		options.SeriesLimit = 100
	}
	r.Metrics = New(config, options)
	return r
}

// after moves the clock.
func (r *rig) after(d time.Duration) time.Time {
	r.now = r.now.Add(d)
	return r.now
}

// pass moves the clock and takes a snapshot of one message at most.
func (r *rig) pass(d time.Duration) pmetric.Metrics {
	switch messages := r.Snapshot(r.after(d)); len(messages) {
	case 0:
		return pmetric.NewMetrics()
	case 1:
		return messages[0].Metrics
	default:
		panic(fmt.Sprintf("a snapshot of %d messages", len(messages)))
	}
}

// seenPoint is a data point as tests compare it.
type seenPoint struct {
	resource, attributes map[string]any
	start, value         int64
}

// sums returns the points of one sum, in the order of the snapshot.
func sums(data pmetric.Metrics, name string) []seenPoint {
	var all []seenPoint
	each(data, func(resource pcommon.Resource, m pmetric.Metric) {
		if m.Name() != name {
			return
		}
		for _, p := range m.Sum().DataPoints().All() {
			all = append(all, seenPoint{
				resource.Attributes().AsRaw(), p.Attributes().AsRaw(),
				int64(p.StartTimestamp()), p.IntValue(),
			})
		}
	})
	return all
}

func each(data pmetric.Metrics, f func(pcommon.Resource, pmetric.Metric)) {
	for _, r := range data.ResourceMetrics().All() {
		for _, s := range r.ScopeMetrics().All() {
			for _, m := range s.Metrics().All() {
				f(r.Resource(), m)
			}
		}
	}
}

// values returns the values of one sum by attributes.
func values(data pmetric.Metrics, name string) map[string]int64 {
	all := map[string]int64{}
	for _, p := range sums(data, name) {
		all[fmt.Sprint(p.attributes)] += p.value
	}
	return all
}

func web() Key { return Key{Port: 80, IPv4: true, Workload: facttest.Process().Workload} }

func testInterface(egress bool) packet.Interface {
	i := packet.Interface{Name: "eth0", Egress: egress, Fragments: 3, Forwarded: 4}
	i.Packets[packet.SYN], i.Bytes[packet.SYN] = 2, 148
	i.Malformed[packet.TCPOffset] = 1
	return i
}

// everything updates each metric.
func everything(m *Metrics) {
	s, c := web(), facttest.Closed()
	m.AddCount(s, connection.Opens, "", 2)
	m.IO(s, 0, c.ReceivedBytes, c.TransmittedBytes)
	m.Closed(s, c)
	m.BeginActive()
	m.AddActive(s, 1)
	unknown := Key{}
	m.AddCount(unknown, connection.Retransmits, "", 1)
	m.AddCount(unknown, connection.SYNACKRetransmits, "", 2)
	m.AddCount(unknown, connection.ResetsSent, "", 3)
	m.AddCount(unknown, connection.ResetsReceived, "", 4)
	m.AddCount(unknown, connection.Drops, "no_socket", 5)
	m.AddCount(unknown, connection.Drops, "", 6)
	m.AddCount(unknown, connection.Failures, "refused", 7)
	m.AddCount(unknown, connection.Failures, "", 8)
	m.SetInterface(testInterface(false))
	m.SetInterface(testInterface(true))
	m.BeginQueues()
	m.AddQueues(webListener(), testQueues())
	m.EndQueues()
	m.Overflowed(webListener(), 3)
}

func TestMetricsGolden(t *testing.T) {
	for name, exponential := range map[string]bool{"metrics.json": false, "exponential.json": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(Options{Exponential: exponential})
			everything(r.Metrics)
			data, err := (&pmetric.JSONMarshaler{}).MarshalMetrics(r.pass(10 * time.Second))
			facttest.Golden(t, name, data, err)
		})
	}
}

func TestMetricsAreCumulative(t *testing.T) {
	r := newRig(Options{})
	r.AddCount(web(), connection.Opens, "", 2)
	first := r.pass(10 * time.Second)
	r.AddCount(web(), connection.Opens, "", 3)
	second := r.pass(10 * time.Second)
	require.EqualValues(t, 2, sums(first, "tcp.server.connection.opened")[0].value, "not touched later")
	point := sums(second, "tcp.server.connection.opened")[0]
	require.EqualValues(t, 5, point.value)
	require.EqualValues(t, facttest.Epoch, point.start, "the first observation")
	require.Equal(t, map[string]any{
		"server.port": int64(80), "network.type": "ipv4", "process.executable.name": "nginx",
	}, point.attributes)
}

func TestMetricsActive(t *testing.T) {
	const name = "tcp.server.connection.active"
	r := newRig(Options{})
	r.BeginActive()
	r.AddActive(web(), 2)
	r.AddActive(web(), 1)
	r.AddActive(Key{Port: 443}, 1)
	require.Equal(t, []int64{1, 3}, sorted(values(r.pass(time.Second), name)))
	r.BeginActive()
	r.AddActive(Key{Port: 443}, 1)
	require.Equal(t, []int64{0, 1}, sorted(values(r.pass(time.Second), name)), "gone is 0, not absent")
}

func TestMetricsToggles(t *testing.T) {
	r := newRig(Options{}, func(c *metadata.MetricsBuilderConfig) {
		c.Metrics = metadata.MetricsConfig{}
		c.Metrics.TCPServerRtt.Enabled = true
	})
	everything(r.Metrics)
	data := r.pass(time.Second)
	require.Equal(t, 1, data.MetricCount())
	each(data, func(_ pcommon.Resource, m pmetric.Metric) { require.Equal(t, "tcp.server.rtt", m.Name()) })
	require.Equal(t, 1, r.SeriesCount())
}

func TestMetricsUnmeasuredIsNotRecorded(t *testing.T) {
	r := newRig(Options{})
	c := facttest.Closed()
	c.Accept, c.Handshake, c.SmoothedRTT = 0, 0, 0
	r.Closed(web(), c)
	each(r.pass(time.Second), func(_ pcommon.Resource, m pmetric.Metric) {
		require.Contains(t, []string{"tcp.server.connection.closed", "tcp.server.connection.duration"}, m.Name())
	})
}

func TestMetricsContainersAreResources(t *testing.T) {
	workload := func(id string) *owner.Workload {
		return &owner.Workload{Executable: "nginx", Container: owner.Container{ID: id}}
	}
	feed := func(r *rig) []seenPoint {
		r.AddCount(Key{Port: 80, Workload: workload("a")}, connection.Opens, "", 1)
		r.AddCount(Key{Port: 80, Workload: workload("b")}, connection.Opens, "", 2)
		return sums(r.pass(time.Second), "tcp.server.connection.opened")
	}
	points := feed(newRig(Options{}))
	require.Len(t, points, 2)
	require.Equal(t, points[0].attributes, points[1].attributes)
	require.Equal(t, map[string]any{
		"container.id": "a", "host.name": "web-1", "service.instance.id": "a", "service.name": "nginx",
	}, points[0].resource)

	// Points with the same attributes must be one series.
	points = feed(newRig(Options{}, func(c *metadata.MetricsBuilderConfig) {
		c.ResourceAttributes.ContainerID.Enabled = false
		c.ResourceAttributes.ServiceInstanceID.Enabled = false
	}))
	require.Len(t, points, 1)
	require.EqualValues(t, 3, points[0].value)

	points = feed(newRig(Options{}, func(c *metadata.MetricsBuilderConfig) {
		c.ResourceAttributes.ContainerID.MetricsExclude = []filter.Config{{Strict: "a"}}
	}))
	require.Len(t, points, 1)
	require.EqualValues(t, 2, points[0].value)
}

func TestMetricsOverflow(t *testing.T) {
	const limit = 3
	r := newRig(Options{SeriesLimit: limit})
	r.AddCount(Key{Port: 1}, connection.Drops, "reason0", 1)
	r.BeginActive()
	for port := range 10 {
		s := Key{Port: uint16(port + 1), Workload: facttest.Process().Workload}
		r.AddCount(s, connection.Opens, "", 1)
		r.IO(s, 0, 10, 1)
		r.Closed(s, facttest.Closed())
		r.AddActive(s, 1)
	}
	for i := range 10 {
		r.AddCount(Key{Port: 1}, connection.Drops, fmt.Sprint("reason", i), 1)
		iface := testInterface(false)
		iface.Name = fmt.Sprint("veth", i)
		r.SetInterface(iface)
	}
	data := r.pass(time.Second)
	require.Equal(t, limit, r.SeriesCount())

	points, observations := map[string]int{}, map[string]int64{}
	each(data, func(resource pcommon.Resource, m pmetric.Metric) {
		count := func(attributes pcommon.Map, n int64) {
			points[m.Name()]++
			observations[m.Name()] += n
			if _, over := attributes.Get("otel.metric.overflow"); over {
				require.Equal(t, 1, attributes.Len())
				_, inContainer := resource.Attributes().Get("container.id")
				require.False(t, inContainer, "the overflow is the host's")
				points["overflow of "+m.Name()]++
			}
		}
		if m.Type() == pmetric.MetricTypeHistogram {
			for _, p := range m.Histogram().DataPoints().All() {
				count(p.Attributes(), int64(p.Count()))
			}
			return
		}
		for _, p := range m.Sum().DataPoints().All() {
			count(p.Attributes(), p.IntValue())
		}
	})
	for name, total := range map[string]int64{
		"tcp.server.connection.opened": 10, "tcp.server.connection.active": 10,
		"tcp.server.io": 110, "tcp.server.drops": 11, "tcp.server.rtt": 10,
		"tcp.server.packets": 20, "tcp.server.malformed": 10, "tcp.server.fragments": 30,
	} {
		require.Equal(t, limit+1, points[name], name)
		require.Equal(t, 1, points["overflow of "+name], name)
		require.Equal(t, total, observations[name], "%s: nothing gets lost", name)
	}

	r.BeginActive()
	require.Equal(t, []int64{0, 0, 0, 0}, sorted(values(r.pass(time.Second), "tcp.server.connection.active")))
}

func TestMetricsMemoryIsBounded(t *testing.T) {
	r := newRig(Options{SeriesLimit: 10}, func(c *metadata.MetricsBuilderConfig) {
		c.ResourceAttributes.ContainerID.Enabled = false
		c.ResourceAttributes.ServiceInstanceID.Enabled = false
	})
	for i := range 1000 {
		workload := &owner.Workload{Container: owner.Container{ID: fmt.Sprint(i)}}
		r.AddCount(Key{Port: 80, Workload: workload}, connection.Opens, "", 1)
		r.AddCount(Key{Port: uint16(i)}, connection.Opens, "", 1)
	}
	require.LessOrEqual(t, len(r.store.aliases), 2*families*10)
	require.LessOrEqual(t, len(r.store.sets), families*10)
	var total int64
	for _, p := range sums(r.pass(time.Second), "tcp.server.connection.opened") {
		total += p.value
	}
	require.EqualValues(t, 2000, total)
}

func TestMetricsExpiry(t *testing.T) {
	const name = "tcp.server.connection.opened"
	r := newRig(Options{SeriesLimit: 2, Expiry: time.Minute})
	r.AddCount(web(), connection.Opens, "", 1)
	r.SetInterface(testInterface(false))
	r.AddCount(Key{Port: 443}, connection.Opens, "", 1)
	r.BeginActive()
	r.AddActive(Key{Port: 443}, 1)
	require.Len(t, sums(r.pass(time.Second), name), 2)
	require.Len(t, sums(r.pass(59*time.Second), name), 2)

	data := r.pass(time.Second)
	require.Len(t, sums(data, name), 1, "a series with open connections stays")
	require.EqualValues(t, 443, sums(data, name)[0].attributes["server.port"])
	require.Empty(t, sums(data, "tcp.server.packets"))
	require.Equal(t, 1, data.ResourceMetrics().Len(), "no empty resource is left")

	r.now = r.now.Add(time.Second)
	renewed := r.now.UnixNano()
	r.AddCount(web(), connection.Opens, "", 5)
	for _, p := range sums(r.pass(time.Second), name) {
		if p.attributes["server.port"] == int64(80) {
			require.EqualValues(t, 5, p.value, "counts from 0 again")
			require.Equal(t, renewed, p.start, "from a new start")
		}
	}
	require.Equal(t, 2, r.SeriesCount(), "expiry made room")

	r.BeginActive()
	require.Len(t, sums(r.pass(time.Second), name), 2)
	require.Empty(t, sums(r.pass(time.Hour), name), "no open connections any more")
	require.Zero(t, r.SeriesCount())
}

func TestMetricsNeverExpire(t *testing.T) {
	r := newRig(Options{})
	r.AddCount(web(), connection.Opens, "", 1)
	r.pass(time.Second)
	require.Len(t, sums(r.pass(1000*time.Hour), "tcp.server.connection.opened"), 1)
}

func TestMetricsInterfaces(t *testing.T) {
	const name = "tcp.server.fragments"
	total := func(r *rig) int64 { return sums(r.pass(time.Second), name)[0].value }
	report := func(r *rig, index uint32, fragments uint64) {
		r.SetInterface(packet.Interface{Name: "eth0", Generation: index, Fragments: fragments})
	}
	r := newRig(Options{})
	report(r, 2, 10)
	require.EqualValues(t, 10, total(r))
	report(r, 2, 15)
	require.EqualValues(t, 15, total(r))
	require.EqualValues(t, 15, total(r), "no report at all says nothing")
	report(r, 2, 16)
	require.EqualValues(t, 16, total(r))

	report(r, 2, 4)
	require.EqualValues(t, 20, total(r), "less than before began again")

	report(r, 2, 4)
	report(r, 3, 7)
	require.EqualValues(t, 27, total(r), "another interface of that name")

	report(r, 3, 7)
	require.EqualValues(t, 27, total(r))
	report(r, 2, 5)
	report(r, 3, 7)
	require.EqualValues(t, 32, total(r), "it had vanished and came back")
}

// TestMetricsInterfacesOfNamespaces: one name in two namespaces has two series. The collector's
// own namespace has no tcp.netns.inode.
func TestMetricsInterfacesOfNamespaces(t *testing.T) {
	r := newRig(Options{})
	r.SetInterface(packet.Interface{Name: "eth0", Fragments: 1})
	r.SetInterface(packet.Interface{Name: "eth0", NetNS: 4026532000, Generation: 1, Fragments: 20})
	// A new namespace has the number of an ended one.
	r.SetInterface(packet.Interface{Name: "eth0", NetNS: 4026532000, Generation: 2, Fragments: 300})
	require.Equal(t, map[string]int64{
		"map[network.interface.name:eth0]":                            1,
		"map[network.interface.name:eth0 tcp.netns.inode:4026532000]": 320,
	}, values(r.pass(time.Second), "tcp.server.fragments"))
}

func sorted(m map[string]int64) []int64 { return slices.Sorted(maps.Values(m)) }

// TestSeriesWhenTheWallClockIsSetBack: no point is older than its series, a series keeps its new
// start, and an unchanged one expires without waiting for the old time.
func TestSeriesWhenTheWallClockIsSetBack(t *testing.T) {
	const hour = time.Hour
	for _, exponential := range []bool{false, true} {
		r := newRig(Options{Exponential: exponential, Expiry: time.Minute})
		r.AddCount(Key{Port: 80}, connection.Opens, "", 3)
		r.Closed(Key{Port: 80}, facttest.Closed())
		r.pass(time.Second)
		r.AddCount(Key{Port: 81}, connection.Opens, "", 1) // begins between a pass and the step

		var starts []pcommon.Timestamp
		look := func(d time.Duration) {
			starts = nil
			each(r.pass(d), func(_ pcommon.Resource, m pmetric.Metric) {
				for _, point := range times(m) {
					assert.LessOrEqual(t, point[0], point[1], "%s starts after its time", m.Name())
					starts = append(starts, point[0])
				}
			})
		}
		look(-hour)
		require.NotEmpty(t, starts)
		first := starts
		look(10 * time.Second)
		assert.Equal(t, first, starts, "a start that moves is a reset each time")
		look(time.Minute)
		assert.Empty(t, starts, "expired")
	}
}

// times returns the start and the time of each data point.
func times(m pmetric.Metric) (all [][2]pcommon.Timestamp) {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		for _, p := range m.Sum().DataPoints().All() {
			all = append(all, [2]pcommon.Timestamp{p.StartTimestamp(), p.Timestamp()})
		}
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			all = append(all, [2]pcommon.Timestamp{p.StartTimestamp(), p.Timestamp()})
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			all = append(all, [2]pcommon.Timestamp{p.StartTimestamp(), p.Timestamp()})
		}
	}
	return all
}
