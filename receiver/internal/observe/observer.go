// SPDX-License-Identifier: Apache-2.0

// Package observe turns facts into telemetry: it finds the process behind each fact, hands
// the fact to the log records and the series, and enters each event in the ledger.
package observe

import (
	"io/fs"
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/sourceview"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/tlsview"
)

var _ fact.Sink = (*Observer)(nil)

// Options configure an Observer.
type Options struct {
	Ledger      *ledger.Ledger
	Attribution Attribution
	// Connections, Listeners and PortCounters are the sizes of the kernel's maps. The tables
	// here are bounded by them.
	Connections, Listeners, PortCounters int
	// Root is the file system that processes and containers are looked up in.
	Root fs.FS

	// Logs and Metrics are nil without a pipeline of that signal.
	Logs    *logrecord.Logs
	Metrics *series.Metrics
	// Updates configure the records of open connections. Their Max is Connections.
	Updates connection.UpdateOptions
	// Networks group metrics by client.
	Networks []netip.Prefix
	// Selected says whether connections of a local port are observed; nil is all ports.
	Selected func(port uint16) bool
	// Requests makes views of requests; nil if nothing is inspected.
	Requests *httpview.Viewer
	// Handshakes makes views of TLS handshakes; nil if nothing is inspected.
	Handshakes *tlsview.Viewer
	// Push takes a batch of log records. A batch is closed at MaxRecords or MaxBytes.
	Push                 func(logrecord.Batch)
	MaxRecords, MaxBytes int
}

// Observer is for one goroutine at a time. It allocates nothing per fact itself.
type Observer struct {
	ledger  *ledger.Ledger
	owners  *attribution
	tracker *connection.Tracker
	ports   portDeltas
	updates connection.Updates
	// networks begins with the longest prefixes.
	networks networks
	selected func(port uint16) bool

	logs                 *logrecord.Logs
	metrics              *series.Metrics
	requests             *httpview.Viewer
	views                sourceview.Viewer
	handshakes           *tlsview.Viewer
	push                 func(logrecord.Batch)
	maxRecords, maxBytes int

	// since is when the batch got its first record.
	since time.Time
	facts uint64
}

// New makes an Observer that has seen nothing.
func New(options Options) *Observer {
	options.Updates.Max = options.Connections
	if options.Selected == nil {
		options.Selected = func(uint16) bool { return true }
	}
	return &Observer{
		ledger:     options.Ledger,
		owners:     newAttribution(options.Attribution, options.Listeners, options.Root),
		tracker:    connection.NewTracker(options.Connections),
		ports:      portDeltas{limit: tablesPerMap * options.PortCounters},
		updates:    connection.NewUpdates(options.Updates),
		networks:   newNetworks(options.Networks),
		selected:   options.Selected,
		logs:       options.Logs,
		metrics:    options.Metrics,
		requests:   options.Requests,
		handshakes: options.Handshakes,
		push:       options.Push,
		maxRecords: options.MaxRecords,
		maxBytes:   options.MaxBytes,
	}
}

// Facts counts the calls, so that a caller can tell whether a drain brought any.
func (o *Observer) Facts() uint64 { return o.facts }

// ProcessSeen implements fact.Sink.
func (o *Observer) ProcessSeen(s *owner.Sighting) {
	o.facts++
	o.owners.seen(s)
}

// ListenerOpened implements fact.Sink.
func (o *Observer) ListenerOpened(l *connection.Listener) {
	o.facts++
	if !o.owners.opened(l) {
		o.ledger.Lose(ledger.Listener, ledger.TableFull, 1)
	}
}

// ListenerClosed implements fact.Sink.
func (o *Observer) ListenerClosed(socket, overflows uint64) {
	o.facts++
	o.overflowed(o.owners.listeners.LastLook(socket, overflows))
	o.owners.closed(socket)
}

// ConnectionOpened implements fact.Sink. The metric of opened connections does
// not depend on it: the kernel side counts them per port.
func (o *Observer) ConnectionOpened(c *connection.Opened) {
	o.facts++
	waits := false
	if o.logs != nil {
		process, source := o.owners.ofConnection(c.Owner, c.NetNS, c.Server)
		waits = o.logs.Opened(c, process, source)
	}
	o.enter(ledger.Open, waits)
}

// ConnectionClosed implements fact.Sink.
func (o *Observer) ConnectionClosed(c *connection.Closed) {
	o.facts++
	process, source := o.owners.ofConnection(c.Owner, c.NetNS, c.Server)
	if o.metrics != nil {
		key := o.seriesOf(&c.Connection, process)
		o.observe(key, &c.Connection, o.tracker.Closed(c))
		o.metrics.Closed(key, c)
	}
	o.enter(ledger.Connection, o.logs != nil && o.closed(c, process, source))
}

// ConnectionFailed implements fact.Sink.
func (o *Observer) ConnectionFailed(f *connection.Failed) {
	o.facts++
	waits := false
	if o.logs != nil {
		waits = o.logs.Failed(f, o.wanted(f))
	}
	o.enter(ledger.Failed, waits)
}

// wanted is the process that an attempt was for; nil if the port had no listener.
func (o *Observer) wanted(f *connection.Failed) *owner.Process {
	if f.Type == connection.FailureRefused {
		return nil
	}
	process, _ := o.owners.ofServer(f.NetNS, f.Server)
	return process
}

// PacketSelected implements fact.Sink.
func (o *Observer) PacketSelected(p *packet.Packet) {
	o.facts++
	waits := false
	if o.logs != nil {
		process, source := o.owners.ofServer(p.NetNS, p.Server)
		waits = o.logs.Packet(p, process, source)
	}
	o.enter(ledger.Packet, waits)
}

// FactsLost implements fact.Sink.
func (o *Observer) FactsLost(e ledger.Event, c ledger.Cause, n int) {
	o.facts++
	if e == ledger.Request { // the kernel side counts no requests
		o.ledger.Produce(e, n)
	}
	o.ledger.Lose(e, c, n)
}

// enter adds one event to the ledger: it waits in the batch, or it counts as delivered
// because no log record of it is wanted.
func (o *Observer) enter(e ledger.Event, waits bool) {
	if !waits {
		o.ledger.Deliver(e, 1)
		return
	}
	o.ledger.Queue(e, 1)
	switch n := o.logs.Len(); {
	case n >= o.maxRecords || o.logs.Bytes() >= o.maxBytes:
		o.Flush()
	case n == 1:
		o.since = time.Now()
	}
}

// Flush closes the batch if it has records.
func (o *Observer) Flush() {
	if o.logs != nil && o.logs.Len() > 0 {
		o.push(o.logs.Take())
	}
}

// FlushOlder closes the batch if its first record came before a time.
func (o *Observer) FlushOlder(than time.Time) {
	if !o.since.After(than) {
		o.Flush()
	}
}

func (o *Observer) observe(key series.Key, c *connection.Connection, delta connection.Delta) {
	o.metrics.IO(key, c.Absent, delta.Received, delta.Transmitted)
}

// Snapshot observes the counters of a snapshot.
func (o *Observer) Snapshot(s *probe.Snapshot) {
	if o.metrics == nil {
		return
	}
	o.begin(s)
	refused := o.ports.each(s.Ports, func(c connection.PortCounter, delta uint64) {
		o.metrics.AddCount(o.seriesOfPort(c.NetNS, c.Port, c.IPv4), c.What, c.Detail, delta)
	})
	o.ledger.Lose(ledger.PortCount, ledger.TableFull, refused)
	for _, i := range s.Interfaces {
		o.metrics.SetInterface(i)
	}
	o.observeQueues(s.Queues)
	for _, overflow := range s.Overflows {
		key := series.Key{NetNS: overflow.NetNS, Listener: true}
		o.metrics.BeginOverflows(key)
		o.metrics.Overflowed(key, overflow.N)
	}
}

func (o *Observer) seriesOfPort(netns uint32, port uint16, ipv4 bool) series.Key {
	key := series.Key{NetNS: netns, Port: port, IPv4: ipv4}
	if process := o.owners.ofPort(netns, port); process != nil {
		key.Workload = process.Workload
	}
	return key
}

// observeQueues observes the queues of all listeners. It skips listeners that are not known
// yet, whose record is on the way, and those that have ended.
func (o *Observer) observeQueues(looks []connection.Queues) {
	listeners := o.owners.listeners
	for i := range looks {
		o.overflowed(listeners.Look(&looks[i]))
	}
	o.metrics.BeginQueues()
	for listener, queues := range listeners.Queues() {
		o.metrics.AddQueues(o.seriesOfListener(listener), queues)
	}
	o.metrics.EndQueues()
}

func (o *Observer) overflowed(l *connection.Listener, n uint64) {
	if l != nil && n > 0 && o.metrics != nil {
		o.metrics.Overflowed(o.seriesOfListener(l), n)
	}
}

func (o *Observer) seriesOfListener(l *connection.Listener) series.Key {
	key := series.Key{NetNS: l.NetNS, Port: l.Address.Port(), Listener: true}
	if process := o.owners.ofListener(l); process != nil {
		key.Workload = process.Workload
	}
	return key
}

// seriesOf always has the server's port: an established connection proves that a listener
// existed, even if it has ended since.
func (o *Observer) seriesOf(c *connection.Connection, process *owner.Process) series.Key {
	key := series.Key{NetNS: c.NetNS, Port: c.Server.Port(), IPv4: c.IPv4(), Network: o.networks.of(c.Client.Addr())}
	if process != nil {
		key.Workload = process.Workload
	}
	return key
}
