// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/event"
)

// Service is a row: levels now, and rates over the last ten seconds, or the interval of metrics if it
// is longer.
type Service struct {
	ServiceKey
	// Open are connections now.
	Open int64
	// Opened, Failed, Requests, Errors and Overflows are per second; Received and Sent are bytes
	// per second.
	Opened, Failed, Requests, Errors, Overflows, Received, Sent float64
	// RTT is the median of the connections that closed in the last half minute. Answer and Slowest
	// are the median and the 99th percentile of its requests. Negative without any.
	RTT, Answer, Slowest event.Seconds
	// Queued wait for accept, of at most Limit. Negative if unknown.
	Queued, Limit int64
}

// Client is a row: counts since the client was first among the busiest.
type Client struct {
	Address                       string
	Connections, Failed, Requests int64
	Bytes                         int64
	// Port and Process are what it asked last.
	Port    uint16
	Process string
	Last    time.Time
}

// Failure is a row.
type Failure struct {
	Port    uint16
	Process string
	Reason  string
	Count   int64
	// Client was the last one.
	Client string
	Last   time.Time
}

// Request is a row: a method and a path of a service, or a method of gRPC.
type Request struct {
	ServiceKey
	What            string
	Count, Errors   int64
	Answer, Slowest event.Seconds
}

// Snapshot is the model at one time. It shares nothing with the model.
type Snapshot struct {
	Time     time.Time
	Services []Service
	Clients  []Client
	Failures []Failure
	Requests []Request
	// Findings has the newest record of each rule and client.
	Findings []event.Event
	// Events are the last ones, oldest first.
	Events []event.Event
	// LeftOut counts what found no room in the model.
	LeftOut int64
}

// Snapshot copies what the model has. Rows are sorted: the busiest, or the newest, first.
func (m *Model) Snapshot() Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	s := Snapshot{
		Time: now, LeftOut: m.others,
		Services: m.serviceRows(now), Clients: m.clientRows(), Failures: m.failureRows(), Requests: m.requestRows(now),
		Events: append(slices.Clone(m.events[m.next:]), m.events[:m.next]...),
	}
	m.findings.all(func(_ string, f *entry[event.Event]) { s.Findings = append(s.Findings, f.value) })
	slices.SortFunc(s.Findings, func(a, b event.Event) int { return b.Time.Compare(a.Time) })
	return s
}

func (m *Model) serviceRows(now time.Time) []Service {
	rows := make([]Service, 0, len(m.services))
	for k, s := range m.services {
		rows = append(rows, Service{
			ServiceKey: k, Open: s.open, Queued: s.queued, Limit: s.limit,
			Opened: s.opened.perSecond(now, m.window), Failed: s.failed.perSecond(now, m.window),
			Requests: s.requests.perSecond(now, m.window), Errors: s.errors.perSecond(now, m.window), Overflows: s.overflow.perSecond(now, m.window),
			Received: s.received.perSecond(now, m.window), Sent: s.sent.perSecond(now, m.window),
			RTT:    event.Seconds(s.rtt.quantile(now, 0.5)),
			Answer: event.Seconds(s.answer.quantile(now, 0.5)), Slowest: event.Seconds(s.answer.quantile(now, 0.99)),
		})
	}
	slices.SortFunc(rows, func(a, b Service) int {
		return cmp.Or(cmp.Compare(b.Opened+b.Requests, a.Opened+a.Requests), cmp.Compare(b.Open, a.Open), compareKeys(a.ServiceKey, b.ServiceKey))
	})
	return rows
}

func compareKeys(a, b ServiceKey) int {
	return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Process, b.Process), cmp.Compare(a.Host, b.Host))
}

// clientRows has those of both tables. One that left a table and came back has less there.
func (m *Model) clientRows() []Client {
	all := make(map[string]Client, 2*maxClients)
	take := func(address string, e *entry[client]) {
		c, r := &e.value, all[address]
		r.Address = address
		r.Connections, r.Failed = max(r.Connections, c.connections), max(r.Failed, c.failed)
		r.Requests, r.Bytes = max(r.Requests, c.requests), max(r.Bytes, c.bytes)
		if !c.last.Before(r.Last) {
			r.Port, r.Process, r.Last = c.port, c.process, c.last
		}
		all[address] = r
	}
	m.clients.all(take)
	m.heavy.all(take)
	rows := slices.Collect(maps.Values(all))
	slices.SortFunc(rows, func(a, b Client) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Connections+b.Failed, a.Connections+a.Failed), cmp.Compare(a.Address, b.Address))
	})
	return rows
}

func (m *Model) failureRows() []Failure {
	var rows []Failure
	m.failures.all(func(k failureKey, e *entry[failure]) {
		rows = append(rows, Failure{k.port, k.process, k.reason, e.value.count, e.value.lastClient, e.value.last})
	})
	slices.SortFunc(rows, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Reason, b.Reason))
	})
	return rows
}

func (m *Model) requestRows(now time.Time) []Request {
	var rows []Request
	m.routes.all(func(k routeKey, e *entry[route]) {
		r := &e.value
		rows = append(rows, Request{
			k.service, k.what, r.count, r.errors,
			event.Seconds(r.answer.quantile(now, 0.5)), event.Seconds(r.answer.quantile(now, 0.99)),
		})
	})
	slices.SortFunc(rows, func(a, b Request) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), compareKeys(a.ServiceKey, b.ServiceKey), cmp.Compare(a.What, b.What))
	})
	return rows
}
