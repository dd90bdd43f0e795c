// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import "fmt"

// figure is one thing to measure, with its greatest permitted value.
type figure struct {
	id string
	// name and against say what is measured, and relative to what.
	name, against string
	unit          unit
	// target is the greatest value that is good enough.
	target float64
	// informs marks figures without a target, to compare with.
	informs bool
}

// unit says how a value is written.
type unit string

const (
	times   unit = "×"
	percent unit = "%"
	mebi    unit = "MiB"
	records unit = "records"
	seconds unit = "s"
	nanos   unit = "ns"
	micros  unit = "µs"

	bytesEach unit = "bytes"

	allocations unit = "allocations"
)

// figures are in the order of the table.
var figures = []figure{
	{id: "tc-data", name: "TC ingress, packet of no interest", against: "an empty TC program", unit: times, target: 1.3},
	{id: "tc-syn-hit", name: "TC ingress, SYN of a known source", against: "parse, clock and one LRU update", unit: times, target: 1.3},
	{id: "tc-syn-miss", name: "TC ingress, SYN of a new source", against: "parse, clock and one LRU insert", unit: times, target: 1.3},
	{id: "tc-syn-half-open-hit", name: "TC ingress, repeated SYN, half-open tracked", against: "parse, clock, one LRU update and a try to insert", unit: times, target: 1.3},
	{id: "tc-syn-half-open-miss", name: "TC ingress, SYN of a new source, half-open tracked", against: "parse, clock, one LRU insert and one insert more", unit: times, target: 1.3},
	{id: "guard-nothing", name: "guard, nothing is blocked", against: "an empty TC program", unit: times, target: 1.05},
	{id: "guard-innocent", name: "guard, 100,000 blocked sources, packet of another", against: "an empty TC program", unit: times, target: 1.9},
	{id: "guard-innocent6", name: "guard, 100,000 blocked sources, packet of another, IPv6", against: "an empty TC program", unit: times, target: 1.9},
	{id: "guard-blocked", name: "guard, packet of a blocked source", against: "an empty TC program", unit: times, target: 2.2},
	{id: "guard-allowed", name: "the same, the block contains an allowed address", against: "an empty TC program", unit: times, target: 4},
	{id: "guard-networks", name: "guard, 10,000 blocked networks, a source outside their /16s", against: "an empty TC program", unit: times, target: 2},
	{id: "guard-networks-6", name: "guard, 10,000 blocked networks, another source, IPv6", against: "an empty TC program", unit: times, target: 2.6},
	{id: "guard-netdev", name: "guard, a SYN of a blocked source, from the other end of the wire on", against: "a set of nftables in the netdev ingress hook", unit: times, target: 1.1},
	{id: "guard-input", name: "guard, a SYN of a blocked source, from the other end of the wire on", against: "a set of nftables in the input hook", unit: times, target: 1},
	{id: "sources-data", name: "TC ingress, packet of no interest, sources counted", against: "an empty TC program", unit: times, target: 1.3},
	{id: "sources-syn-known", name: "TC ingress, SYN of a known source, sources counted", against: "parse, clock and one LRU update", unit: times, target: 1},
	{id: "sources-syn-flood", name: "TC ingress, SYN of a flood, sources counted", against: "parse, clock and one LRU insert with eviction", unit: times, target: 0.4},
	{id: "sources-pass", name: "65,536 sources read and reported each second: CPU time, of one CPU", unit: percent, target: 3},
	{id: "judge-close", name: "connector, one close judged", against: "building its record", unit: times, target: 0.15},
	{id: "judge-failed", name: "connector, one failed attempt judged", against: "building its record", unit: times, target: 0.15},
	{id: "judge-source", name: "connector, one source judged", against: "building its record", unit: times, target: 0.15},
	{id: "judge-many", name: "connector, 65,000 sources with a record each second: CPU time, of one CPU", unit: percent, target: 3},
	{id: "hooks", name: "all socket hooks, kernel time of a connection", against: "one record of tcplife", unit: times, target: 0.15},
	{id: "hooks-empty", name: "all socket hooks, kernel time of a connection", against: "as many runs of an empty program", unit: times, target: 4},
	{id: "record", name: "ring buffer to consumer, one log", against: "the same record of constants", unit: times, target: 1.25},
	{id: "record-allocations", name: "ring buffer to consumer, one log: allocations more than the record of constants", unit: allocations, target: 0.1},
	{id: "record-metrics", name: "ring buffer to consumer, metrics only", against: "a record of constants", unit: times, target: 0.25},
	{id: "inspect-elsewhere", name: "packet of a port that is not inspected, inspection on elsewhere", against: "inspection off", unit: times, target: 1.02},
	{id: "inspect-body", name: "inspected port, packet of a body", against: "an empty TC program", unit: times, target: 1.6},
	{id: "inspect-body-sent", name: "inspected port, packet of a body at egress", against: "an empty TC program", unit: times, target: 1.6},
	{id: "inspect-head", name: "inspected port, segment with a head of 512 bytes", against: "an empty TC program", unit: times, target: 7},
	{id: "inspect-head-sent", name: "inspected port, segment with a head of 512 bytes at egress", against: "an empty TC program", unit: times, target: 7},
	{id: "inspect-copy", name: "the same at ingress, more than an empty program", against: "a program that only copies the head", unit: times, target: 1.2},
	{id: "inspect-copy-sent", name: "the same at egress, more than an empty program", against: "a program that only copies the head", unit: times, target: 1.2},
	{id: "inspect-live", name: "both heads of a request on loopback, kernel time of both programs more than empty ones", against: "programs that only copy the heads", unit: times, target: 1.2},
	{id: "inspect-other", name: "inspecting program, packet of a port that is not inspected", against: "an empty TC program", unit: times, informs: true},
	{id: "frames-none", name: "HTTP/2, a segment in which no frame begins", against: "an empty TC program", unit: times, target: 1.4},
	{id: "frames-head", name: "HTTP/2, each of 4 heads of DATA in a segment: more than an empty program", against: "an empty TC program", unit: times, target: 0.9},
	{id: "frames-heads", name: "HTTP/2, each of 16 heads of DATA in a segment: more than an empty program", against: "an empty TC program", unit: times, target: 0.9},
	{id: "frames-headers", name: "HTTP/2, a segment with a HEADERS frame", against: "an empty TC program", unit: times, target: 7},
	{id: "rpc-metrics", name: "ring buffer to consumer, a gRPC call, metrics only", against: "the record of a request of constants", unit: times, target: 0.6},
	{id: "rpc-metrics-allocations", name: "ring buffer to consumer, a gRPC call, metrics only: allocations", unit: allocations, target: 2},
	{id: "rpc", name: "ring buffer to consumer, the log of a gRPC call", against: "the record of a request of constants", unit: times, informs: true},
	{id: "request-metrics", name: "ring buffer to consumer, one request, metrics only", against: "its record of constants", unit: times, target: 0.4},
	{id: "request-metrics-allocations", name: "ring buffer to consumer, one request, metrics only: allocations", unit: allocations, target: 0},
	{id: "request", name: "ring buffer to consumer, the log of a request", against: "the same record of constants", unit: times, target: 1.5},
	{id: "request-allocations", name: "ring buffer to consumer, the log of a request: allocations more than the record of constants", unit: allocations, target: 6},
	{id: "hello", name: "a ClientHello, read with JA3 and JA4", against: "the record of its handshake of constants", unit: times, target: 1},
	{id: "hello-allocations", name: "a ClientHello, read with JA3 and JA4: allocations", unit: allocations, target: 0},
	{id: "request-both", name: "ring buffer to consumer, log and metrics of a request", against: "its record of constants", unit: times, informs: true},
	{id: "hooks-own", name: "all socket hooks, kernel time of a connection", unit: nanos, informs: true},
	{id: "hooks-two", name: "all socket hooks, client and server on a processor each, kernel time of a connection", against: "as many runs of an empty program", unit: times, informs: true},
	{id: "hooks-one", name: "all socket hooks, client and server on one processor, kernel time of a connection", against: "as many runs of an empty program", unit: times, informs: true},
	{id: "hooks-alone", name: "all socket hooks while tcplife does not run, kernel time of a connection", against: "as many runs of an empty program", unit: times, informs: true},
	{id: "hooks-statistics", name: "as many runs of an empty program, by the same statistics", unit: nanos, informs: true},
	{id: "record-bare", name: "building a record of constants, CPU time", unit: nanos, informs: true},
	{id: "record-both", name: "ring buffer to consumer, log and metrics", against: "a record of constants", unit: times, informs: true},
	{id: "pass", name: "one pass over 100k open connections, CPU time", against: "ss -tinO", unit: times, target: 0.25},
	{id: "pass-syscall", name: "the same without iter/bpf_map_elem, by prog_run/syscall", against: "ss -tinO", unit: times, target: 0.25},
	{id: "system-call", name: "a system call, accept_tracepoint on", against: "off", unit: times, informs: true},

	{id: "close-logs", name: "a log per connection: requests/s lost", unit: percent, target: 8},
	{id: "close-logs-lost", name: "a log per connection: records lost", unit: records, target: 0},
	{id: "close-logs-cpu", name: "a log per connection: more CPU time per request", unit: percent, informs: true},
	{id: "close-logs-own", name: "a log per connection: collector's CPU time per 100k connections", unit: seconds, informs: true},
	{id: "close-logs-sink", name: "a log per connection: sink's CPU time per 100k connections", unit: seconds, informs: true},
	{id: "close-metrics", name: "metrics only: requests/s lost", unit: percent, target: 3},
	{id: "close-metrics-cpu", name: "metrics only: more CPU time per request", unit: percent, informs: true},
	{id: "close-metrics-own", name: "metrics only: collector's CPU time per 100k connections", unit: seconds, informs: true},
	{id: "close-floor", name: "empty programs in the same places: requests/s lost", unit: percent, informs: true},
	{id: "close-floor-cpu", name: "empty programs in the same places: more CPU time per request", unit: percent, informs: true},
	{id: "no-tc", name: "metrics only, tc::mode off: requests/s lost", unit: percent, informs: true},
	{id: "no-tc-cpu", name: "metrics only, tc::mode off: more CPU time per request", unit: percent, informs: true},
	{id: "no-tc-own", name: "metrics only, tc::mode off: collector's CPU time per 100k connections", unit: seconds, informs: true},
	{id: "accept", name: "metrics only, accept_tracepoint on: requests/s lost", unit: percent, informs: true},
	{id: "accept-cpu", name: "metrics only, accept_tracepoint on: more CPU time per request", unit: percent, informs: true},
	{id: "accept-own", name: "metrics only, accept_tracepoint on: collector's CPU time per 100k connections", unit: seconds, informs: true},
	{id: "tcplife", name: "tcplife: requests/s lost", unit: percent, informs: true},
	{id: "tcplife-cpu", name: "tcplife: more CPU time per request", unit: percent, informs: true},
	{id: "tcplife-own", name: "tcplife: its CPU time per 100k connections", unit: seconds, informs: true},
	{id: "bpftrace", name: "bpftrace: requests/s lost", unit: percent, informs: true},
	{id: "bpftrace-cpu", name: "bpftrace: more CPU time per request", unit: percent, informs: true},
	{id: "bpftrace-own", name: "bpftrace: its CPU time per 100k connections", unit: seconds, informs: true},
	{id: "keep-alive", name: "keep-alive: requests/s lost", unit: percent, target: 1},
	{id: "keep-alive-cpu", name: "keep-alive: more CPU time per request", unit: percent, target: 1},
	{id: "keep-alive-own", name: "keep-alive: collector's CPU time per 100k requests", unit: seconds, informs: true},
	{id: "keep-alive-floor", name: "keep-alive, empty programs in the same places: requests/s lost", unit: percent, informs: true},
	{id: "keep-alive-floor-cpu", name: "keep-alive, empty programs in the same places: more CPU time per request", unit: percent, informs: true},

	{id: "inspect-metrics", name: "inspected requests, metrics only: more CPU time per request", unit: percent, target: 7},
	{id: "inspect-metrics-added", name: "inspected requests, metrics only: CPU time added to a request", unit: micros, informs: true},
	{id: "inspect-metrics-rate", name: "inspected requests, metrics only: requests/s lost", unit: percent, informs: true},
	{id: "inspect-few", name: "inspected requests, records for 1 % and all errors: more CPU time per request", unit: percent, target: 8},
	{id: "inspect-few-added", name: "inspected requests, records for 1 % and all errors: CPU time added to a request", unit: micros, informs: true},
	{id: "inspect-few-rate", name: "inspected requests, records for 1 % and all errors: requests/s lost", unit: percent, informs: true},
	{id: "inspect-records", name: "inspected requests, a record each by OTLP: more CPU time per request", unit: percent, informs: true},
	{id: "inspect-records-added", name: "inspected requests, a record each by OTLP: CPU time added to a request", unit: micros, informs: true},
	{id: "inspect-records-rate", name: "inspected requests, a record each by OTLP: requests/s lost", unit: percent, informs: true},
	{id: "access-log", name: "inspected requests, a record each by OTLP: CPU time added to a request", against: "nginx's JSON access log, read by filelog", unit: times, target: 0.5},
	{id: "access-log-buffered", name: "the same", against: "the same log with a buffer of 64 KiB", unit: times, target: 0.6},
	{id: "access-log-added", name: "JSON access log, read by filelog: CPU time added to a request", unit: micros, informs: true},
	{id: "access-log-rate", name: "JSON access log, read by filelog: requests/s lost", unit: percent, informs: true},
	{id: "access-log-buffered-added", name: "JSON access log with a buffer, read by filelog: CPU time added to a request", unit: micros, informs: true},
	{id: "access-log-buffered-rate", name: "JSON access log with a buffer, read by filelog: requests/s lost", unit: percent, informs: true},

	{id: "half-heads", name: "100k connections with half a head each: heap, with 32 MiB as limits.inspected_bytes", unit: mebi, target: 36},
	{id: "half-heads-each", name: "the same: heap beyond the limit for each connection", unit: bytesEach, informs: true},
	{id: "collector-pass", name: "whole collector during one pass over 100k, CPU time", against: "ss -tinO", unit: times, target: 0.25},
	{id: "resident", name: "resident set at 100k open connections, 65k sources", unit: mebi, target: 120},
	{id: "burst-logs", name: "100k connections reset at once, a log each: closes lost", unit: records, target: 0},
	{id: "burst-metrics", name: "100k connections reset at once, metrics only: closes lost", unit: records, target: 0},
	{id: "floods-resident", name: "1M SYNs of as many sources, 1M to all ports, connections as fast as they go: resident set, more than with a tenth of the SYNs", unit: mebi, target: 8},
	{id: "floods-maps", name: "the same: kernel memory of all maps, more than before", unit: mebi, target: 0},
	{id: "floods-difference", name: "the same: attempts without account", unit: records, target: 0},
	{id: "floods-half-open-resident", name: "the same, half-open tracked: resident set, more than with a tenth of the SYNs", unit: mebi, target: 8},
	{id: "floods-half-open-maps", name: "the same, half-open tracked: kernel memory of all maps, more than before", unit: mebi, target: 0},
	{id: "floods-half-open-difference", name: "the same, half-open tracked: attempts without account", unit: records, target: 0},
	{id: "maps", name: "kernel memory of all maps, defaults", unit: mebi, target: 64},
}

func figureOf(id string) figure {
	for _, f := range figures {
		if f.id == id {
			return f
		}
	}
	panic("no figure named " + id)
}

// title names the figure in tables.
func (f figure) title() string {
	if f.against == "" {
		return f.name
	}
	return f.name + " ÷ " + f.against
}

// fallsShort begins the verdict on a figure over its target.
const fallsShort = "falls short"

// verdict says whether the target was reached, and whether the repetitions leave doubt:
// the middle half of them don't agree, or has gains larger than the target, which are
// noise, for nothing gets faster by being watched.
func (f figure) verdict(r result) string {
	said := fallsShort
	if r.Value <= f.target {
		said = "holds"
	}
	switch {
	case r.Missing != "":
		return "not measured"
	case f.informs:
		return ""
	case r.Low <= f.target && r.High > f.target, f.unit == percent && r.Low < -f.target:
		return said + ", uncertain"
	default:
		return said
	}
}

func (f figure) write(value float64) string {
	switch f.unit {
	case times, seconds, micros, allocations:
		return fmt.Sprintf("%.2f %s", value, f.unit)
	case percent, mebi:
		return fmt.Sprintf("%.1f %s", value, f.unit)
	default:
		return fmt.Sprintf("%.0f %s", value, f.unit)
	}
}
