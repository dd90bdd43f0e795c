// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/series"
)

var _ fact.Sink = (*handler)(nil)

// handler turns the kernel side's facts into log records and metric observations.
// It belongs to the drain's goroutine and allocates nothing per fact itself.
type handler struct {
	books   *ledger.Ledger
	owners  *attribution
	tracker *connection.Tracker
	ports   portDeltas

	// logs and metrics are nil without a pipeline of that signal.
	logs    *logrecord.Logs
	metrics *series.Metrics

	// push hands a batch over; a batch is closed at maxRecords or maxBytes.
	push                 func(logrecord.Batch)
	maxRecords, maxBytes int
	// since is when the first record of the batch came.
	since time.Time
	// facts counts the calls, so that a drain can tell whether it brought anything.
	facts uint64
}

// ProcessSeen implements fact.Sink.
func (h *handler) ProcessSeen(s *owner.Sighting) {
	h.facts++
	h.owners.seen(s)
}

// ListenerOpened implements fact.Sink.
func (h *handler) ListenerOpened(l *connection.Listener) {
	h.facts++
	if !h.owners.opened(l) {
		h.books.Lose(ledger.Listener, ledger.TableFull, 1)
	}
}

// ListenerClosed implements fact.Sink.
func (h *handler) ListenerClosed(socket, overflows uint64) {
	h.facts++
	h.overflowed(h.owners.listeners.LastLook(socket, overflows))
	h.owners.closed(socket)
}

// ConnectionOpened implements fact.Sink. The metric of opened connections does
// not depend on it: the kernel side counts them per port.
func (h *handler) ConnectionOpened(c *connection.Opened) {
	h.facts++
	waits := false
	if h.logs != nil {
		process, source := h.owners.ofConnection(&c.Connection)
		waits = h.logs.Opened(c, process, source)
	}
	h.account(ledger.Open, waits)
}

// ConnectionClosed implements fact.Sink.
func (h *handler) ConnectionClosed(c *connection.Closed) {
	h.facts++
	process, source := h.owners.ofConnection(&c.Connection)
	if h.metrics != nil {
		key := seriesOf(&c.Connection, process)
		h.observe(key, &c.Connection, h.tracker.Closed(c))
		h.metrics.Closed(key, c)
	}
	h.account(ledger.Connection, h.logs != nil && h.logs.Closed(c, process, source))
}

// ConnectionFailed implements fact.Sink.
func (h *handler) ConnectionFailed(f *connection.Failed) {
	h.facts++
	h.account(ledger.Failed, h.logs != nil && h.logs.Failed(f))
}

// PacketSelected implements fact.Sink.
func (h *handler) PacketSelected(p *packet.Packet) {
	h.facts++
	waits := false
	if h.logs != nil {
		process, source := h.owners.ofServer(p.NetNS, p.Server)
		waits = h.logs.Packet(p, process, source)
	}
	h.account(ledger.Packet, waits)
}

// FactsLost implements fact.Sink.
func (h *handler) FactsLost(e ledger.Event, c ledger.Cause, n int) {
	h.facts++
	h.books.Lose(e, c, n)
}

// account enters one event in the books: it waits in the batch, or it is delivered
// because nobody wants it as a log record.
func (h *handler) account(e ledger.Event, waits bool) {
	if !waits {
		h.books.Deliver(e, 1)
		return
	}
	h.books.Queue(e, 1)
	switch n := h.logs.Len(); {
	case n >= h.maxRecords || h.logs.Bytes() >= h.maxBytes:
		h.flush()
	case n == 1:
		h.since = time.Now()
	}
}

// flush closes the batch, if there is one.
func (h *handler) flush() {
	if h.logs != nil && h.logs.Len() > 0 {
		h.push(h.logs.Take())
	}
}

// flushOlder closes the batch when its first record came before a time.
func (h *handler) flushOlder(than time.Time) {
	if !h.since.After(than) {
		h.flush()
	}
}

// live takes a look at an open connection, for the metrics.
func (h *handler) live(l *connection.Live) {
	if h.metrics == nil {
		return
	}
	process, _ := h.owners.ofConnection(&l.Connection)
	key := seriesOf(&l.Connection, process)
	h.metrics.AddActive(key, 1)
	h.observe(key, &l.Connection, h.tracker.Live(l))
}

func (h *handler) observe(key series.Key, c *connection.Connection, delta connection.Delta) {
	h.metrics.IO(key, c.Absent, delta.Received, delta.Transmitted)
}

// beginPass comes before a look at all open connections.
func (h *handler) beginPass() {
	if h.metrics != nil {
		h.tracker.BeginPass()
		h.metrics.BeginActive()
	}
}

// endPass comes after it, when it was complete.
func (h *handler) endPass() {
	if h.metrics != nil {
		h.tracker.EndPass()
	}
}

// snapshot observes the counters of a snapshot.
func (h *handler) snapshot(s *probe.Snapshot) {
	if h.metrics == nil {
		return
	}
	h.beginOpened()
	refused := h.ports.each(s.Ports, func(c connection.PortCounter, delta uint64) {
		h.metrics.AddCount(h.seriesOfPort(c.NetNS, c.Port, c.IPv4), c.What, c.Detail, delta)
	})
	h.books.Lose(ledger.PortCount, ledger.TableFull, refused)
	for _, i := range s.Interfaces {
		h.metrics.SetInterface(i)
	}
	h.observeQueues(s.Queues)
	for _, o := range s.Overflows {
		key := series.Key{NetNS: o.NetNS, Listener: true}
		h.metrics.BeginOverflows(key)
		h.metrics.Overflowed(key, o.N)
	}
}

// beginOpened begins a series for each port that listens, and IP version that it takes.
func (h *handler) beginOpened() {
	for l := range h.owners.listeners.All() {
		address, port := l.Address.Addr(), l.Address.Port()
		if address.Is4() || address.IsUnspecified() {
			h.metrics.BeginOpened(h.seriesOfPort(l.NetNS, port, true))
		}
		if !address.Is4() {
			h.metrics.BeginOpened(h.seriesOfPort(l.NetNS, port, false))
		}
	}
}

func (h *handler) seriesOfPort(netns uint32, port uint16, ipv4 bool) series.Key {
	key := series.Key{NetNS: netns, Port: port, IPv4: ipv4}
	if process := h.owners.ofPort(netns, port); process != nil {
		key.Workload = process.Workload
	}
	return key
}

// observeQueues observes the queues of all listeners. A look at one that is not known
// yet, or not any more, is left: its record is on the way, or was the last word.
func (h *handler) observeQueues(looks []connection.Queues) {
	listeners := h.owners.listeners
	for i := range looks {
		h.overflowed(listeners.Look(&looks[i]))
	}
	h.metrics.BeginQueues()
	for listener, queues := range listeners.Queues() {
		h.metrics.AddQueues(h.seriesOfListener(listener), queues)
	}
	h.metrics.EndQueues()
}

func (h *handler) overflowed(l *connection.Listener, n uint64) {
	if l != nil && n > 0 && h.metrics != nil {
		h.metrics.Overflowed(h.seriesOfListener(l), n)
	}
}

func (h *handler) seriesOfListener(l *connection.Listener) series.Key {
	key := series.Key{NetNS: l.NetNS, Port: l.Address.Port(), Listener: true}
	if process := h.owners.ofListener(l); process != nil {
		key.Workload = process.Workload
	}
	return key
}

// seriesOf carries the server's port always: an established connection proves that
// a listener existed, even when it has gone since.
func seriesOf(c *connection.Connection, process *owner.Process) series.Key {
	key := series.Key{NetNS: c.NetNS, Port: c.Server.Port(), IPv4: c.IPv4()}
	if process != nil {
		key.Workload = process.Workload
	}
	return key
}
