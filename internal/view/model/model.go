// SPDX-License-Identifier: Apache-2.0

// Package model is what a screen or a page shows: services, clients, failures, requests, findings
// and the last events. It is made of log records and metrics alone, so it is the same beside a
// kernel, on a gateway of many hosts, and for files that are replayed. Its memory is bounded. It
// never waits for those who look.
package model

import (
	"maps"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/event"
)

// How much is kept.
const (
	// maxServices is far above what one screen shows; a scan can't fill it, because only ports with
	// a listener have metrics.
	maxServices = 1024
	maxClients  = 1024
	maxFailures = 1024
	maxFindings = 256
	maxRoutes   = 256
	maxEvents   = 1000
	// forgotten is the age at which a service goes.
	forgotten = 10 * time.Minute
)

// ServiceKey is a port that a process serves.
type ServiceKey struct {
	Host    string
	Port    uint16
	Process string
}

// service is what is known of one.
type service struct {
	open, queued, limit                      int64
	opened, failed, received, sent, overflow rate
	requests, errors                         rate
	rtt, answer                              spread
	seen                                     time.Time
	// levels is the time of the snapshot that open, queued and limit are of.
	levels pcommon.Timestamp
}

// client is what is known of an address.
type client struct {
	connections, failed, requests int64
	bytes                         int64
	last                          time.Time
	process                       string
	port                          uint16
}

// failureKey is a kind of failure at a port.
type failureKey struct {
	port    uint16
	process string
	reason  string
}

type failure struct {
	count      int64
	lastClient string
	last       time.Time
}

type routeKey struct {
	service ServiceKey
	what    string
}

type route struct {
	count, errors int64
	answer        spread
}

// Model is safe for concurrent use.
type Model struct {
	mu       sync.Mutex
	now      func() time.Time
	started  time.Time
	services map[ServiceKey]*service
	// others counts records of services that found no room.
	others int64
	// clients has those with most records, and heavy those with most bytes. A scan fills the first.
	clients, heavy *top[string, client]
	failures       *top[failureKey, failure]
	routes         *top[routeKey, route]
	findings       *top[string, event.Event]
	// events are the last ones; next is where the next goes.
	events []event.Event
	next   int
	series map[seriesKey]reading
	swept  time.Time
	// last is when metrics came, and window how many seconds rates look back.
	last   time.Time
	window int64
}

// New returns an empty model that tells the time by now.
func New(now func() time.Time) *Model {
	return &Model{
		now: now, started: now(),
		services: make(map[ServiceKey]*service),
		clients:  newTop[string, client](maxClients),
		heavy:    newTop[string, client](maxClients),
		failures: newTop[failureKey, failure](maxFailures),
		routes:   newTop[routeKey, route](maxRoutes),
		findings: newTop[string, event.Event](maxFindings),
		events:   make([]event.Event, 0, maxEvents),
		series:   make(map[seriesKey]reading),
		window:   shortest,
	}
}

// Logs takes records.
func (m *Model) Logs(ld plog.Logs) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.sweep(now)
	for _, resource := range ld.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				e := event.Read(resource.Resource(), record)
				m.take(now, &e)
			}
		}
	}
}

func (m *Model) take(now time.Time, e *event.Event) {
	switch e.Kind {
	case event.Source:
		return // counts for programs
	case event.Close, event.Update:
		m.takeConnection(now, e)
	case event.Failed:
		m.takeFailure(now, e)
	case event.Request:
		m.takeRequest(now, e)
	case event.Handshake:
		if e.Bad {
			m.fail(now, e)
		}
	case event.Threat:
		*m.keepFinding(e) = *e
	}
	if len(m.events) < maxEvents {
		m.events = append(m.events, *e)
		return
	}
	m.events[m.next] = *e
	m.next = (m.next + 1) % maxEvents
}

func (m *Model) keepFinding(e *event.Event) *event.Event {
	found := m.findings.add(e.Rule+" "+e.Client, 1)
	return &found.value
}

// takeConnection takes the end of a connection, or what it did since the last record.
func (m *Model) takeConnection(now time.Time, e *event.Event) {
	ended := int64(0)
	if e.Kind == event.Close {
		ended = 1
		if s := m.service(key(e)); s != nil && e.RTT.Known() {
			s.rtt.add(now, float64(e.RTT))
		}
		if e.Bad {
			m.fail(now, e)
		}
	}
	bytes := max(e.Received, 0) + max(e.Sent, 0)
	m.client(now, e, func(c *client) {
		c.connections += ended
		c.bytes += bytes
	})
	if bytes > 0 {
		c := &m.heavy.add(e.Client, float64(bytes)).value
		c.saw(now, e)
		c.connections += ended
		c.bytes += bytes
	}
}

func (m *Model) takeFailure(now time.Time, e *event.Event) {
	m.client(now, e, func(c *client) { c.failed++ })
	m.fail(now, e)
}

func (m *Model) takeRequest(now time.Time, e *event.Event) {
	m.client(now, e, func(c *client) { c.requests++ })
	s := m.service(key(e))
	if s == nil {
		return
	}
	s.requests.add(now, 1)
	what := e.Call
	if what == "" {
		what = e.Method + " " + e.Path
	}
	r := &m.routes.add(routeKey{key(e), what}, 1).value
	r.count++
	if e.Duration.Known() {
		s.answer.add(now, float64(e.Duration))
		r.answer.add(now, float64(e.Duration))
	}
	if e.Bad {
		s.errors.add(now, 1)
		r.errors++
		m.fail(now, e)
	}
}

func key(e *event.Event) ServiceKey {
	return ServiceKey{Host: e.Host, Port: e.Port, Process: e.Process}
}

// service returns nil if there is no room for another.
func (m *Model) service(k ServiceKey) *service {
	s := m.services[k]
	if s == nil {
		if len(m.services) >= maxServices {
			m.others++
			return nil
		}
		s = &service{limit: -1, queued: -1}
		m.services[k] = s
	}
	s.seen = m.now()
	return s
}

// sweep forgets services and series that nobody has spoken of for a while.
func (m *Model) sweep(now time.Time) {
	if now.Sub(m.swept) < time.Minute {
		return
	}
	m.swept = now
	maps.DeleteFunc(m.services, func(_ ServiceKey, s *service) bool { return now.Sub(s.seen) > forgotten })
	maps.DeleteFunc(m.series, func(_ seriesKey, r reading) bool { return now.Sub(r.at) > forgotten })
}

func (m *Model) client(now time.Time, e *event.Event, count func(*client)) {
	c := &m.clients.add(e.Client, 1).value
	c.saw(now, e)
	count(c)
}

func (c *client) saw(now time.Time, e *event.Event) {
	c.last, c.port = now, e.Port
	if e.Process != "" {
		c.process = e.Process
	}
}

func (m *Model) fail(now time.Time, e *event.Event) {
	f := &m.failures.add(failureKey{e.Port, e.Process, e.Reason}, 1).value
	f.count++
	f.last, f.lastClient = now, e.Client
}
