// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import "fmt"

// figure is one thing to measure, and what it should be at most.
type figure struct {
	id string
	// name says what it is, against what it is measured against.
	name, against string
	unit          unit
	// target is the most that holds; 0 with only is a figure to compare with.
	target float64
	// informs marks figures without a target.
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
	micros  unit = "µs"
)

// figures are in the order of the table.
var figures = []figure{
	{id: "tc-data", name: "TC ingress, packet of no interest", against: "an empty TC program", unit: times, target: 1.3},
	{id: "tc-syn-hit", name: "TC ingress, SYN of a known source, all accounting", against: "parse, clock and one LRU update", unit: times, target: 1.3},
	{id: "tc-syn-miss", name: "TC ingress, SYN of a new source, all accounting", against: "parse, clock and one LRU insert", unit: times, target: 1.3},
	{id: "tc-syn-half-open", name: "the same, half-open tracking on", against: "the same and one insert more", unit: times, target: 1.3},
	{id: "hooks", name: "all socket hooks, kernel time of a connection", against: "one record of tcplife", unit: times, target: 0.15},
	{id: "record", name: "drain to record, one log a connection", against: "the same record built of constants", unit: times, target: 1.25},
	{id: "record-allocations", name: "the same, allocations beyond the bare record's", against: "the same record built of constants", unit: "allocations", target: 0.1},
	{id: "record-metrics", name: "drain to metrics, no logs", against: "a record built of constants", unit: times, target: 0.25},
	{id: "system-call", name: "a system call of any process, accept_tracepoint on", against: "off", unit: times, informs: true},

	{id: "close-logs", name: "nginx, Connection: close, a log each over OTLP: requests/s lost", against: "", unit: percent, target: 8},
	{id: "close-logs-lost", name: "the same: records lost", unit: records, target: 0},
	{id: "close-logs-cpu", name: "the same: more CPU time per request", unit: percent, informs: true},
	{id: "close-logs-own", name: "the same: the collector's CPU time per 100k connections", unit: seconds, informs: true},
	{id: "close-logs-sink", name: "the same: the sink's CPU time per 100k connections", unit: seconds, informs: true},
	{id: "close-metrics", name: "nginx, Connection: close, metrics only: requests/s lost", unit: percent, target: 3},
	{id: "close-metrics-cpu", name: "the same: more CPU time per request", unit: percent, informs: true},
	{id: "close-metrics-own", name: "the same: the collector's CPU time per 100k connections", unit: seconds, informs: true},
	{id: "keep-alive", name: "nginx, keep-alive, all defaults: requests/s lost", unit: percent, informs: true},
	{id: "keep-alive-cpu", name: "the same: more CPU time per request", unit: percent, target: 1},
	{id: "keep-alive-own", name: "the same: the collector's CPU time per 100k requests", unit: seconds, informs: true},
	{id: "tcplife", name: "nginx, Connection: close, under tcplife: requests/s lost", unit: percent, informs: true},
	{id: "tcplife-own", name: "the same: tcplife's CPU time per 100k connections", unit: seconds, informs: true},
	{id: "bpftrace", name: "nginx, Connection: close, under bpftrace: requests/s lost", unit: percent, informs: true},
	{id: "bpftrace-own", name: "the same: bpftrace's CPU time per 100k connections", unit: seconds, informs: true},

	{id: "snapshot", name: "live snapshot of 100k open connections, CPU time", against: "ss -tinO over the same sockets", unit: times, target: 0.25},
	{id: "resident", name: "resident set at 100k open connections, 65k sources", unit: mebi, target: 120},
	{id: "maps", name: "kernel memory of all maps", unit: mebi, target: 64},
}

func figureOf(id string) figure {
	for _, f := range figures {
		if f.id == id {
			return f
		}
	}
	panic("no figure named " + id)
}

// verdict says whether the target was reached.
func (f figure) verdict(r result) string {
	switch {
	case r.Missing != "":
		return "not measured"
	case f.informs:
		return ""
	case r.Value <= f.target:
		return "holds"
	default:
		return "falls short"
	}
}

func (f figure) write(value float64) string {
	switch f.unit {
	case times, micros, "allocations":
		return fmt.Sprintf("%.2f %s", value, f.unit)
	case percent, mebi, seconds:
		return fmt.Sprintf("%.1f %s", value, f.unit)
	default:
		return fmt.Sprintf("%.0f %s", value, f.unit)
	}
}
