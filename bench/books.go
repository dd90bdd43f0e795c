// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// metric is one line of what a collector tells about itself.
type metric struct {
	name, labels string
	value        float64
}

// metrics are the collector's own.
func (c *collector) metrics() ([]metric, error) { return c.in.scrape(c.telemetry) }

// scrape reads metrics in Prometheus' format from a port of loopback.
func (ns namespace) scrape(port int) ([]metric, error) {
	text, err := run(ns.command("curl", "-sf", fmt.Sprintf("http://127.0.0.1:%d/metrics", port)))
	if err != nil {
		return nil, err
	}
	var all []metric
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		space := strings.LastIndexByte(line, ' ')
		if space < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("read the metrics at port %d: %w", port, err)
		}
		name, labels, _ := strings.Cut(line[:space], "{")
		all = append(all, metric{strings.TrimSuffix(name, "_total"), labels, value})
	}
	return all, nil
}

// label is the value of one of the labels, or nothing.
func (m metric) label(name string) string {
	_, rest, _ := strings.Cut(","+m.labels, ","+name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// counter adds up the collector's own metrics of that name, and of those only the
// ones whose labels contain all of the given.
func (c *collector) counter(name string, labels ...string) (float64, error) {
	all, err := c.metrics()
	if err != nil {
		return 0, err
	}
	total, found := 0.0, false
	for _, m := range all {
		if m.name != name || slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(m.labels, l) }) {
			continue
		}
		total, found = total+m.value, true
	}
	if !found {
		return 0, fmt.Errorf("the collector has no metric %s%v", name, labels)
	}
	return total, nil
}

// account is what the receiver says became of one kind of event.
type account struct {
	produced, delivered, active, queued, lost float64
	// losses are by place and reason.
	losses map[string]float64
}

// difference is what the account does not explain; 0 at rest.
func (a account) difference() float64 {
	return a.produced - a.delivered - a.active - a.queued - a.lost
}

// since is what has come since an earlier look.
func (a account) since(before account) account {
	a.produced -= before.produced
	a.delivered -= before.delivered
	a.lost -= before.lost
	a.losses = maps.Clone(a.losses)
	for place, n := range before.losses {
		if a.losses[place] -= n; a.losses[place] == 0 {
			delete(a.losses, place)
		}
	}
	return a
}

// lostWhere tells the losses by place and reason, the greatest first.
func (a account) lostWhere() string {
	places := slices.SortedFunc(maps.Keys(a.losses), func(x, y string) int { return int(a.losses[y] - a.losses[x]) })
	if len(places) == 0 {
		return "nothing"
	}
	for i, place := range places {
		places[i] = fmt.Sprintf("%.0f %s", a.losses[place], place)
	}
	return strings.Join(places, ", ")
}

// books are the accounts of the events that are counted from their beginning.
type books map[string]account

// books reads them from the collector's own metrics.
func (c *collector) books() (books, error) {
	all, err := c.metrics()
	if err != nil {
		return nil, err
	}
	b := books{}
	for _, event := range []string{"connection", "open", "failed", "packet"} {
		a := account{losses: map[string]float64{}}
		for _, m := range all {
			a.add(event, m)
		}
		b[event] = a
	}
	return b, nil
}

func (a *account) add(event string, m metric) {
	name, ours := strings.CutPrefix(m.name, "otelcol_ebpf_tcp_")
	if ours && name == "connections_active" && event == "connection" {
		a.active += m.value
	}
	if !ours || m.label("event") != event {
		return
	}
	switch name {
	case "produced":
		a.produced += m.value
	case "delivered":
		a.delivered += m.value
	case "queued":
		a.queued += m.value
	case "lost":
		if a.lost += m.value; m.value > 0 {
			a.losses[m.label("place")+" "+m.label("reason")] += m.value
		}
	}
}

// atRest waits until the books say of every event what became of it, and fit a
// condition, and returns them.
func (c *collector) atRest(ctx context.Context, condition func(books) bool) (b books, err error) {
	err = c.wait(ctx, "at rest", func() (bool, error) {
		if b, err = c.books(); err != nil {
			return false, err
		}
		for _, a := range b {
			if a.difference() != 0 || a.queued != 0 {
				return false, nil
			}
		}
		return condition(b), nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: the books are %v", err, b)
	}
	return b, nil
}
