// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
)

// measureInspectPackets has the kernel run the inspecting programs many times on one packet.
func measureInspectPackets(ctx context.Context, b *bench) error {
	seen := []string{"ns/packet", "empty-ns"}
	return b.take(ctx, goBenchmark{folder: "internal/probe/inspect", pattern: "^BenchmarkInspect$", times: 20, count: 3},
		fromBenchmark{id: "inspect-other", benchmark: "BenchmarkInspect/port_not_inspected", metric: "x-empty", seen: seen},
		fromBenchmark{id: "inspect-body", benchmark: "BenchmarkInspect/body", metric: "x-empty", seen: seen},
		fromBenchmark{id: "inspect-body-sent", benchmark: "BenchmarkInspect/body,_sent", metric: "x-empty", seen: seen},
		fromBenchmark{id: "inspect-head", benchmark: "BenchmarkInspect/head", metric: "x-empty", seen: seen},
		fromBenchmark{id: "inspect-head-sent", benchmark: "BenchmarkInspect/head,_sent", metric: "x-empty", seen: seen},
		fromBenchmark{id: "inspect-copy", benchmark: "BenchmarkInspect/head", metric: "x-copy", seen: []string{"copy-ns"}},
		fromBenchmark{id: "inspect-copy-sent", benchmark: "BenchmarkInspect/head,_sent", metric: "x-copy", seen: []string{"copy-ns"}})
}

// measureInspectLive takes the kernel's own figures of requests over loopback.
func measureInspectLive(ctx context.Context, b *bench) error {
	return b.take(ctx, goBenchmark{folder: "internal/probe/inspect", pattern: "^BenchmarkInspectLive$", times: 15, count: 3},
		fromBenchmark{id: "inspect-live", benchmark: "BenchmarkInspectLive", metric: "x-copy", seen: []string{"ns/request", "copy-ns/request", "empty-ns/request"}})
}

// measureInspectElsewhere adds the inspecting program, which finds that a port is not inspected, to
// the observing one.
func measureInspectElsewhere(ctx context.Context, b *bench) error {
	observed, err := goBenchmark{folder: "internal/probe/packets", pattern: "^BenchmarkTC$/^data$", times: 20, count: 5}.run(ctx, b)
	if err != nil {
		return err
	}
	inspected, err := goBenchmark{folder: "internal/probe/inspect", pattern: "^BenchmarkInspect$/^port_not_inspected$", times: 20, count: 5}.run(ctx, b)
	if err != nil {
		return err
	}
	off, err1 := observed.metric("BenchmarkTC/data", "ns/packet")
	on, err2 := inspected.metric("BenchmarkInspect/port_not_inspected", "ns/packet")
	empty, err3 := inspected.metric("BenchmarkInspect/port_not_inspected", "empty-ns")
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	ratio := make(sample, min(len(off), len(on)))
	for i := range ratio {
		ratio[i] = 1 + (on[i]-empty[i])/off[i]
	}
	b.found("inspect-elsewhere", ratio, "%.1f ns more than an empty program, beside %.1f ns of the observing one", on.median()-empty.median(), off.median())
	return nil
}

// measureInspectPath compares the work of user space for a request with building its record from
// constants.
func measureInspectPath(ctx context.Context, b *bench) error {
	seen := []string{"ns/request", "bare-ns/request", "allocs/request", "bare-allocs/request"}
	return b.take(ctx, goBenchmark{folder: "receiver", pattern: "^BenchmarkRequestPath$", times: 20, count: 5},
		fromBenchmark{id: "request-metrics", benchmark: "BenchmarkRequestPath/metrics", metric: "x-bare", seen: seen},
		fromBenchmark{id: "request-metrics-allocations", benchmark: "BenchmarkRequestPath/metrics", metric: "allocs/request"},
		fromBenchmark{id: "request", benchmark: "BenchmarkRequestPath/logs", metric: "x-bare", seen: seen},
		fromBenchmark{id: "request-allocations", benchmark: "BenchmarkRequestPath/logs", metric: "allocs/request", minus: "bare-allocs/request"},
		fromBenchmark{id: "request-both", benchmark: "BenchmarkRequestPath/logs_and_metrics", metric: "x-bare", seen: seen})
}

// measureFrames has the kernel run the inspecting program on segments of HTTP/2.
func measureFrames(ctx context.Context, b *bench) error {
	seen := []string{"added-ns", "empty-ns"}
	return b.take(ctx, goBenchmark{folder: "internal/probe/inspect", pattern: "^BenchmarkFrames$", times: 5, count: 3},
		fromBenchmark{id: "frames-none", benchmark: "BenchmarkFrames/none_begins", metric: "x-empty", seen: seen},
		fromBenchmark{id: "frames-head", benchmark: "BenchmarkFrames/4_heads", metric: "x-empty/head", seen: seen},
		fromBenchmark{id: "frames-heads", benchmark: "BenchmarkFrames/16_heads", metric: "x-empty/head", seen: seen},
		fromBenchmark{id: "frames-headers", benchmark: "BenchmarkFrames/HEADERS", metric: "x-empty", seen: seen})
}

// measureRPCPath compares the work of user space for a gRPC call with building the record of a
// request from constants.
func measureRPCPath(ctx context.Context, b *bench) error {
	seen := []string{"ns/call", "bare-ns/call"}
	return b.take(ctx, goBenchmark{folder: "receiver", pattern: "^BenchmarkRPCPath$", times: 20, count: 5},
		fromBenchmark{id: "rpc-metrics", benchmark: "BenchmarkRPCPath/metrics", metric: "x-bare", seen: seen},
		fromBenchmark{id: "rpc-metrics-allocations", benchmark: "BenchmarkRPCPath/metrics", metric: "allocs/call"},
		fromBenchmark{id: "rpc", benchmark: "BenchmarkRPCPath/logs", metric: "x-bare", seen: seen})
}

// measureHello compares reading a ClientHello, with its fingerprints, with building the record of
// its handshake from constants.
func measureHello(ctx context.Context, b *bench) error {
	return b.take(ctx, goBenchmark{folder: "receiver", pattern: "^BenchmarkHello$", times: 20, count: 5},
		fromBenchmark{id: "hello", benchmark: "BenchmarkHello", metric: "x-bare", seen: []string{"ns/hello", "bare-ns/hello"}},
		fromBenchmark{id: "hello-allocations", benchmark: "BenchmarkHello", metric: "allocs/hello"})
}

// measureHalfHeads fills the table of inspected connections.
func measureHalfHeads(ctx context.Context, b *bench) error {
	return b.take(ctx, goBenchmark{folder: "internal/exchange", pattern: "^BenchmarkHalfHeads$", times: 1, count: 3},
		fromBenchmark{id: "half-heads", benchmark: "BenchmarkHalfHeads", metric: "heap-MiB", seen: []string{"limit-MiB", "lost"}},
		fromBenchmark{id: "half-heads-each", benchmark: "BenchmarkHalfHeads", metric: "B/connection"})
}

// measureInspect measures what inspection adds to requests on connections that stay open, if
// only metrics are sent.
func measureInspect(ctx context.Context, b *bench) error {
	return b.inspected(ctx, "inspect-metrics", "", "metrics")
}

// measureInspectFew has a record for one request in a hundred, and for each error.
func measureInspectFew(ctx context.Context, b *bench) error {
	return b.inspected(ctx, "inspect-few", `, select: {sample_rate: 100, statuses: ["4xx", "5xx"]}`, "logs", "metrics")
}

// measureInspectRecords has a record for each request.
func measureInspectRecords(ctx context.Context, b *bench) error {
	return b.inspected(ctx, "inspect-records", "", "logs", "metrics")
}

// inspected makes the figures that begin with id, with a selection of requests that become
// records.
func (b *bench) inspected(ctx context.Context, id, selection string, signals ...string) (err error) {
	s, err := openSite(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	agent, err := startAgent(ctx, b, s.network.Server, inspecting(selection), signals...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.Close()) }()
	hidden, err := openBypass(s.network.Server, "eth0")
	if err != nil {
		return err
	}
	v := &visit{path: "/", hidden: hidden, watcher: agent.PID()}
	err = s.slice(ctx, sliceCount, v)
	if err := errors.Join(err, hidden.Close()); err != nil {
		return err
	}
	found := &v.found
	ledger, err := agent.Ledger(ctx)
	if err != nil {
		return err
	}
	b.found(id, found.more(), "of %.1f µs; the collector's own %.2f µs included", found.without.median()*1e6, found.own*1e6)
	b.found(id+"-added", found.added(), "")
	request, segment := ledger["request"], ledger["segment"]
	b.found(id+"-rate", found.loss(), "of %.0f requests/s; %.0f of %.0f requests reported, %.0f of them left out, lost: %s; segments lost: %s",
		found.perSecond.median(), request.Produced, found.passed, request.LeftOut, request.LostWhere(), segment.LostWhere())
	return nil
}

// inspecting is the lines of the receiver that inspects the web server.
func inspecting(selection string) string {
	return fmt.Sprintf("    inspect: {http: {ports: [%d]%s}}\n", webPort, selection)
}
