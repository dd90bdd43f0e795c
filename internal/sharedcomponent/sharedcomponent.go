// SPDX-License-Identifier: Apache-2.0

// Package sharedcomponent lets the components of several signals share one instance, which is
// found by its configuration. The Collector's own package for this is internal.
package sharedcomponent

import (
	"context"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
)

// Map holds the instances that were created and not yet shut down.
type Map[K comparable, V component.Component] struct {
	mu        sync.Mutex
	instances map[K]*Component[V]
}

// NewMap makes an empty map.
func NewMap[K comparable, V component.Component]() *Map[K, V] {
	return &Map[K, V]{instances: make(map[K]*Component[V])}
}

// LoadOrCreate returns the instance of key. It creates one if there is none.
func (m *Map[K, V]) LoadOrCreate(key K, create func() (V, error)) (*Component[V], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.instances[key]; ok {
		return c, nil
	}
	inner, err := create()
	if err != nil {
		return nil, err
	}
	c := &Component[V]{inner: inner}
	c.remember = func() { m.put(key, c) }
	c.forget = func() { m.remove(key, c) }
	m.instances[key] = c
	return c, nil
}

// put does not replace another instance.
func (m *Map[K, V]) put(key K, c *Component[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.instances[key]; !taken {
		m.instances[key] = c
	}
}

func (m *Map[K, V]) remove(key K, c *Component[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.instances[key] == c {
		delete(m.instances, key)
	}
}

// Component starts its inner component at the first Start and stops it at the first Shutdown.
// Then it may be started again. It reports the inner component's status to every host that it
// was started with.
type Component[V component.Component] struct {
	inner V
	// remember and forget add the instance to the map and remove it.
	remember, forget func()
	hosts            hosts

	mu sync.Mutex
	// started is set from Start to Shutdown, even if Start failed.
	started  bool
	startErr error
	stopErr  error
}

// Unwrap returns the inner component.
func (c *Component[V]) Unwrap() V { return c.inner }

// Start starts the inner component at the first call. Every call until Shutdown returns that
// result.
func (c *Component[V]) Start(ctx context.Context, host component.Host) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hosts.add(host)
	if !c.started {
		c.started = true
		c.remember()
		c.startErr = c.inner.Start(ctx, &sharedHost{Host: host, hosts: &c.hosts})
	}
	return c.startErr
}

// Shutdown stops the inner component at the first call after Start. Every call until the next
// Start returns that result. Without Start there is nothing to stop.
func (c *Component[V]) Shutdown(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
	if c.started {
		c.started = false
		c.stopErr = c.inner.Shutdown(ctx)
		c.hosts.clear()
	}
	return c.stopErr
}

// hosts reports a status to every host, and the latest one to hosts that are added later.
type hosts struct {
	mu        sync.Mutex
	reporters []componentstatus.Reporter
	last      *componentstatus.Event
}

func (h *hosts) add(host component.Host) {
	reporter, ok := host.(componentstatus.Reporter)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reporters = append(h.reporters, reporter)
	if h.last != nil {
		reporter.Report(h.last)
	}
}

func (h *hosts) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reporters, h.last = nil, nil
}

func (h *hosts) report(event *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = event
	for _, reporter := range h.reporters {
		reporter.Report(event)
	}
}

type sharedHost struct {
	component.Host
	hosts *hosts
}

// Report implements componentstatus.Reporter.
func (h *sharedHost) Report(event *componentstatus.Event) { h.hosts.report(event) }
