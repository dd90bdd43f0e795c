// SPDX-License-Identifier: Apache-2.0

// Package sharedcomponent lets the receivers of several signals be one instance,
// found by its configuration. The Collector's own is internal to it.
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

// LoadOrCreate returns the instance of key, creating it when there is none.
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
	c.forget = func() { m.remove(key, c) }
	m.instances[key] = c
	return c, nil
}

func (m *Map[K, V]) remove(key K, c *Component[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.instances[key] == c {
		delete(m.instances, key)
	}
}

// Len is the number of instances.
func (m *Map[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.instances)
}

// Component starts and stops its inner component once, whoever asks, and reports
// its status to every host it was started with.
type Component[V component.Component] struct {
	inner  V
	forget func()

	start    sync.Once
	startErr error
	stop     sync.Once
	stopErr  error
	hosts    hosts
}

// Unwrap returns the inner component.
func (c *Component[V]) Unwrap() V { return c.inner }

// Start starts the inner component at the first call; each call gets its result.
func (c *Component[V]) Start(ctx context.Context, host component.Host) error {
	c.hosts.add(host)
	c.start.Do(func() {
		c.startErr = c.inner.Start(ctx, &sharedHost{Host: host, hosts: &c.hosts})
	})
	return c.startErr
}

// Shutdown stops the inner component at the first call; each call gets its result.
func (c *Component[V]) Shutdown(ctx context.Context) error {
	c.stop.Do(func() {
		c.stopErr = c.inner.Shutdown(ctx)
		c.forget()
	})
	return c.stopErr
}

// hosts hands a status to every reporter, and the last one to those that come later.
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
