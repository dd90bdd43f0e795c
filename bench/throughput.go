// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

const (
	// pairs is how often the load is run with, and once more without.
	pairs = 9
	// loadTime is how long each takes.
	loadTime = 2 * time.Second
	// warmUp is the load before the one that counts: a watcher that has just begun
	// takes memory that it will have later.
	warmUp = time.Second
)

// watcher is what may slow a server down: the receiver, or a peer.
type watcher interface {
	// PID of the process that is charged with its CPU.
	PID() int
	Close() error
}

// comparison is one series of pairs.
type comparison struct {
	// throughput and cpu are ratios, with the watcher to without: of requests per
	// second, and of CPU time per request, the watcher's own included.
	throughput, cpu sample
	// own is the watcher's CPU time, in seconds per 100,000 requests.
	own sample
	// rate is requests per second without.
	rate sample
}

// compare alternates between the load without and with a watcher; each run with one
// is held against the mean of the runs before and after it. then is called before
// the watcher is closed.
func (s *site) compare(ctx context.Context, closing bool, start func() (watcher, error), then func(watcher) error) (*comparison, error) {
	before, err := s.web.loadFor(ctx, loadTime, closing)
	if err != nil {
		return nil, err
	}
	c := &comparison{}
	for range pairs {
		with, own, err := s.loadWith(ctx, closing, start, then)
		if err != nil {
			return nil, err
		}
		after, err := s.web.loadFor(ctx, loadTime, closing)
		if err != nil {
			return nil, err
		}
		c.add(before, with, after, own)
		before = after
	}
	return c, nil
}

func (s *site) loadWith(ctx context.Context, closing bool, start func() (watcher, error), then func(watcher) error) (l load, own time.Duration, err error) {
	w, err := start()
	if err != nil {
		return load{}, 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if _, err := s.web.loadFor(ctx, warmUp, closing); err != nil {
		return load{}, 0, err
	}
	before, err := cpu(w.PID())
	if err != nil {
		return load{}, 0, err
	}
	if l, err = s.web.loadFor(ctx, loadTime, closing); err != nil {
		return load{}, 0, err
	}
	after, err := cpu(w.PID())
	if err != nil {
		return load{}, 0, err
	}
	return l, after - before, then(w)
}

func (c *comparison) add(before, with, after load, own time.Duration) {
	c.rate = append(c.rate, (before.perSecond+after.perSecond)/2)
	c.throughput = append(c.throughput, with.perSecond/c.rate[len(c.rate)-1])
	without := (before.cpu + after.cpu).Seconds() / (before.requests + after.requests)
	c.cpu = append(c.cpu, (with.cpu+own).Seconds()/with.requests/without)
	c.own = append(c.own, own.Seconds()/with.requests*100_000)
}

// loss is in percent of the requests per second without.
func (c *comparison) loss() sample {
	return c.throughput.each(func(ratio float64) float64 { return (1 - ratio) * 100 })
}

// more is the CPU time per request beyond that without, in percent.
func (c *comparison) more() sample {
	return c.cpu.each(func(ratio float64) float64 { return (ratio - 1) * 100 })
}

// share is how much of the load's two CPUs something took of which seconds per 100,000
// requests are given, in percent.
func (c *comparison) share(seconds sample) sample {
	share := make(sample, len(seconds))
	for i := range share {
		const cpus = 2
		perSecond := c.rate[i] * c.throughput[i]
		share[i] = seconds[i] / 100_000 * perSecond / cpus * 100
	}
	return share
}

// measureLogs sends one log per connection to a sink, and counts what arrives.
func measureLogs(ctx context.Context, b *bench) (err error) {
	s, err := openSite(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	d := &delivery{site: s}
	var sinkCPU sample
	var before time.Duration
	c, err := s.compare(ctx, true, func() (watcher, error) {
		if err := d.begin(ctx); err != nil {
			return nil, err
		}
		if before, err = cpu(s.sink.PID()); err != nil {
			return nil, err
		}
		return startAgent(ctx, b, s.network.Server, "", "logs", "metrics")
	}, func(w watcher) error {
		seen, err := d.end(ctx, w.(*collector))
		if err != nil {
			return err
		}
		after, err := cpu(s.sink.PID())
		sinkCPU = append(sinkCPU, (after-before).Seconds()/seen.opened*100_000)
		return err
	})
	if err != nil {
		return err
	}
	b.found("close-logs", c.loss(), "of %.0f connections/s; the sink takes its part", c.rate.median())
	b.found("close-logs-cpu", c.more(), "the collector's own included, the sink's not")
	b.foundTime("close-logs-own", c, c.own)
	b.foundTime("close-logs-sink", c, sinkCPU)
	b.found("close-logs-lost", sample{max(d.lost, d.difference)}, "%.0f connections, %.0f records of them at the sink, %.0f lost by the collector's own count",
		d.seen.opened, d.seen.recorded, d.lost)
	return nil
}

// foundTime keeps seconds per 100,000 requests of a comparison.
func (b *bench) foundTime(id string, c *comparison, seconds sample) {
	b.found(id, seconds, "%.1f %% of the two CPUs", c.share(seconds).median())
}

// measureMetrics sends metrics only.
func measureMetrics(ctx context.Context, b *bench) error {
	return b.withMetrics(ctx, true, "close-metrics", "")
}

// measureKeepAlive keeps connections open for as many requests as go.
func measureKeepAlive(ctx context.Context, b *bench) error {
	return b.withMetrics(ctx, false, "keep-alive", "", "logs")
}

// measureParts leaves out one part of the receiver and adds another, which tells what
// each costs.
func measureParts(ctx context.Context, b *bench) error {
	return errors.Join(
		b.withMetrics(ctx, true, "no-tc", "    tc: {mode: off}\n"),
		b.withMetrics(ctx, true, "accept", "    attribution: {accept_tracepoint: true}\n"))
}

// withMetrics makes the figures that begin with name; receiver are lines of its
// configuration.
func (b *bench) withMetrics(ctx context.Context, closing bool, name, receiver string, signals ...string) (err error) {
	s, err := openSite(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	c, err := s.compare(ctx, closing, func() (watcher, error) {
		return startAgent(ctx, b, s.network.Server, receiver, append(signals, "metrics")...)
	}, func(watcher) error { return nil })
	if err != nil {
		return err
	}
	b.found(name, c.loss(), "of %.0f requests/s", c.rate.median())
	b.found(name+"-cpu", c.more(), "the collector's own included")
	b.foundTime(name+"-own", c, c.own)
	return nil
}

// peer is a tracing tool that runs beside the server.
type peer struct{ *lab.Process }

func (p peer) Close() error { return p.Stop(syscall.SIGINT) }

// measurePeers runs the same load under tools that also report every connection.
func measurePeers(ctx context.Context, b *bench) (err error) {
	s, err := openSite(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	const oneLiner = `tracepoint:sock:inet_sock_set_state /args->protocol == 6 && args->newstate == 7/
{ printf("%s %d %d %d\n", comm, pid, args->sport, args->dport) }`
	var failed []error
	for _, tool := range []struct {
		id   string
		args []string
	}{{"tcplife", nil}, {"bpftrace", []string{"-e", oneLiner}}} {
		c, err := s.compare(ctx, true, func() (watcher, error) {
			p, err := startPeer(ctx, tool.id, tool.args...)
			return peer{p}, err
		}, func(watcher) error { return nil })
		if err != nil {
			b.missing(tool.id, err)
			failed = append(failed, fmt.Errorf("%s: %w", tool.id, err))
			continue
		}
		b.found(tool.id, c.loss(), "of %.0f connections/s", c.rate.median())
		b.found(tool.id+"-cpu", c.more(), "its own included")
		b.foundTime(tool.id+"-own", c, c.own)
	}
	return errors.Join(failed...)
}
