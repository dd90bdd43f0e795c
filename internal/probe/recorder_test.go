// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package probe

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// recorder keeps facts. Connections, and listeners that open, are those of one network
// namespace; all other facts are those of the host.
type recorder struct {
	fact.Nop
	netns     uint32
	processes []owner.Sighting
	listeners []connection.Listener
	unlistens []uint64
	// overflows are the last counts of listeners that ended.
	overflows map[uint64]uint64
	opened    []connection.Opened
	closed    []connection.Closed
	failed    []connection.Failed
	packets   []packet.Packet
	sources   []source.Source
	services  []source.Service
	// counters are sums of what the namespace counted.
	counters [source.NamespaceCounters]uint64
	lost     []string
}

func (r *recorder) ProcessSeen(s *owner.Sighting) { r.processes = append(r.processes, *s) }
func (r *recorder) ListenerOpened(l *connection.Listener) {
	if l.NetNS == r.netns {
		r.listeners = append(r.listeners, *l)
	}
}

func (r *recorder) ListenerClosed(socket, overflows uint64) {
	r.unlistens = append(r.unlistens, socket)
	r.overflows[socket] += overflows
}

func (r *recorder) ConnectionOpened(c *connection.Opened) {
	if c.NetNS == r.netns {
		r.opened = append(r.opened, *c)
	}
}

func (r *recorder) ConnectionClosed(c *connection.Closed) {
	if c.NetNS == r.netns {
		r.closed = append(r.closed, *c)
	}
}

func (r *recorder) ConnectionFailed(f *connection.Failed) {
	if f.NetNS == r.netns {
		r.failed = append(r.failed, *f)
	}
}

func (r *recorder) PacketSelected(p *packet.Packet) {
	kept := *p
	kept.Options = slices.Clone(p.Options)
	r.packets = append(r.packets, kept)
}

func (r *recorder) SourceSeen(s *source.Source) {
	if s.NetNS == r.netns {
		kept := *s
		kept.Ports, kept.Live = clone(s.Ports), clone(s.Live)
		r.sources = append(r.sources, kept)
	}
}

func (r *recorder) ServiceSeen(s *source.Service) {
	if s.NetNS == r.netns {
		kept := *s
		kept.AcceptQueue, kept.AcceptQueueLimit = clone(s.AcceptQueue), clone(s.AcceptQueueLimit)
		kept.SYNs, kept.Completed, kept.Overflows = clone(s.SYNs), clone(s.Completed), clone(s.Overflows)
		kept.Open, kept.OpenAnswered, kept.Closed, kept.ClosedAnswered = clone(s.Open), clone(s.OpenAnswered), clone(s.Closed), clone(s.ClosedAnswered)
		r.services = append(r.services, kept)
	}
}

func (r *recorder) NamespaceSeen(n *source.Namespace) {
	for c, value := range n.Counters {
		if n.NetNS == r.netns && value != nil {
			r.counters[c] += *value
		}
	}
}

// clone copies what a fact only lends.
func clone[N any](n *N) *N {
	if n == nil {
		return nil
	}
	kept := *n
	return &kept
}

func (r *recorder) FactsLost(event ledger.Event, cause ledger.Cause, n int) {
	r.lost = append(r.lost, fmt.Sprintf("%s: %s %s (%d)", event, cause.Place(), cause.Reason(), n))
}

// closedTo lists the closes of connections to one local port.
func (r *recorder) closedTo(port uint16) []connection.Closed {
	return slices.DeleteFunc(slices.Clone(r.closed), func(c connection.Closed) bool {
		return c.Server.Port() != port
	})
}

// tally has the facts of all namespaces: the number of those about connections, and the
// listeners that have not ended.
type tally struct {
	fact.Nop
	n         int
	listeners map[uint64]connection.Listener
}

func (t *tally) ListenerOpened(l *connection.Listener) { t.listeners[l.Socket] = *l }
func (t *tally) ListenerClosed(socket, _ uint64)       { delete(t.listeners, socket) }

func (t *tally) ConnectionOpened(*connection.Opened) { t.n++ }
func (t *tally) ConnectionClosed(*connection.Closed) { t.n++ }
func (t *tally) ConnectionFailed(*connection.Failed) { t.n++ }

// kernel is a started probe with its recorder.
type kernel struct {
	*recorder
	facts tally
	probe *Probe
	t     *testing.T
}

// testConfig selects the socket vantage point alone; change edits it.
func testConfig(change ...func(*Config)) Config {
	cfg := Config{
		Sockets: Sockets{
			OpenRecords: true,
			Retransmits: true,
			Handshakes:  true,
		},
		Failures: Failures{
			FailedRecords:    true,
			FailedPerSecond:  1000,
			HandshakeTimeout: time.Second,
		},
		Attribution: Attribution{
			Process:          true,
			AcceptTracepoint: true,
		},
		Packets: Packets{
			TCMode: TCOff,
		},
		Limits: Limits{
			MaxListeners:    16384,
			MaxHalfOpen:     16384,
			MaxPortCounters: 8192,
			MaxConnections:  4096,
			RingBytes:       1 << 20,
		},
		ExcludeHooks: testbed.ExcludedHooks(),
	}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

// onlyPort keeps other events of the host out of the ledger.
func onlyPort(port uint16) func(*Config) {
	return func(c *Config) { c.IncludePorts = []PortRange{{First: port, Last: port}} }
}

// startProbe starts a probe for a test that needs features beyond those of its configuration
// (see needing). All features of the host must attach, needed or not.
func startProbe(t *testing.T, cfg Config, needs ...string) *kernel {
	t.Helper()
	return startLogged(t, cfg, zaptest.NewLogger(t), needs...)
}

func startLogged(t *testing.T, cfg Config, logger *zap.Logger, needs ...string) *kernel {
	t.Helper()
	needing(t, append(needsOf(&cfg), needs...)...)
	k := startAny(t, cfg, logger)
	k.hasWhatTheHostGives()
	return k
}

// hasWhatTheHostGives compares the hooks with the diagnosis, except for some features.
func (k *kernel) hasWhatTheHostGives(but ...string) {
	k.t.Helper()
	for _, state := range k.probe.Hooks() {
		if slices.Contains(but, state.Feature) {
			continue
		}
		lacks, err := thisHost(k.t).Lacks(state.Feature)
		require.NoError(k.t, err)
		if lacks == "" {
			require.NoErrorf(k.t, state.Err, "%s (%s)", state.Name, state.Gives)
		}
		require.Equalf(k.t, lacks == "", state.Attached, "%s (%s)", state.Name, state.Gives)
	}
}

// startAny starts a probe, even if only parts of it work.
func startAny(t *testing.T, cfg Config, logger ...*zap.Logger) *kernel {
	t.Helper()
	return startOn(t, nil, cfg, logger...)
}

// startOn starts a probe as though the kernel had these types; nil stands for its own.
func startOn(t *testing.T, types *btf.Spec, cfg Config, logger ...*zap.Logger) *kernel {
	t.Helper()
	p, err := newOn(hook.NewHost(cfg.ExcludeHooks, types), cfg, append(logger, zaptest.NewLogger(t))[0])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	netns, err := netns.Current()
	require.NoError(t, err)
	k := &kernel{recorder: &recorder{netns: netns, overflows: make(map[uint64]uint64)}, probe: p, t: t}
	k.facts.listeners = make(map[uint64]connection.Listener)
	require.NoError(t, p.Start(fact.Tee{k.recorder, &k.facts}))
	return k
}

// until drains until the condition holds; it fails the test after ten seconds.
func (k *kernel) until(what string, holds func() bool) {
	k.t.Helper()
	limit := wire.Patience(10 * time.Second)
	deadline := time.Now().Add(limit)
	for !holds() {
		require.Truef(k.t, time.Now().Before(deadline), "no %s within %s; closed: %+v", what, limit, k.closed)
		require.NoError(k.t, k.probe.Drain(time.Now().Add(20*time.Millisecond)))
	}
}

// settle drains until the ring buffer is empty.
func (k *kernel) settle() {
	k.t.Helper()
	for before := -1; before != k.facts.n; {
		before = k.facts.n
		require.NoError(k.t, k.probe.Drain(time.Now().Add(50*time.Millisecond)))
	}
}

// snapshot takes one, with the live connections to one local port.
func (k *kernel) snapshot(port uint16) (*Snapshot, []connection.Live) {
	k.t.Helper()
	var live []connection.Live
	s, err := k.probe.Snapshot(func(l *connection.Live) {
		if l.Server.Port() == port {
			live = append(live, *l)
		}
	})
	require.NoError(k.t, err)
	return s, live
}
