// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// logFormat has those attributes of the receiver's records that nginx knows.
const logFormat = `
	log_format json escape=json '{"client.address":"$remote_addr","client.port":$remote_port,'
		'"server.address":"$host","server.port":$server_port,'
		'"network.peer.address":"$remote_addr","network.peer.port":$remote_port,'
		'"network.local.address":"$server_addr","network.local.port":$server_port,'
		'"network.transport":"tcp","network.type":"ipv4","network.protocol.name":"http",'
		'"network.protocol.version":"$server_protocol","url.scheme":"$scheme","url.path":"$uri",'
		'"url.query":"$args","http.request.method":"$request_method",'
		'"http.response.status_code":$status,"user_agent.original":"$http_user_agent",'
		'"http.request.size":$request_length,"http.response.size":$bytes_sent,'
		'"http.response.body.size":$body_bytes_sent,"http.server.request.duration":$request_time,'
		'"process.pid":$pid,"tcp.connection.id":"$connection","tcp.connection.requests":$connection_requests,'
		'"time":"$time_iso8601"}';
`

// Ports on loopback of the telemetry of collectors that read an access log.
const (
	plainTelemetryPort    = 8886
	bufferedTelemetryPort = 8887
)

// logRounds is how often each of three loads has a slice.
const logRounds = 20

// measureAccessLog compares a record for each request with what nginx and a collector take for a line
// of an access log, its parsing and its export.
func measureAccessLog(ctx context.Context, b *bench) (err error) {
	s, err := openSite(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	agent, err := startAgent(ctx, b, s.network.Server, inspecting(""), "logs", "metrics")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.Close()) }()
	plain, err := s.startLogReader(ctx, b, "plain", plainTelemetryPort)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	buffered, err := s.startLogReader(ctx, b, "buffered", bufferedTelemetryPort)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, buffered.Close()) }()
	hidden, err := openBypass(s.network.Server, "eth0")
	if err != nil {
		return err
	}
	ours := &visit{path: "/", hidden: hidden, watcher: agent.PID()}
	logged := &visit{path: "/plain", watcher: plain.PID()}
	spared := &visit{path: "/buffered", watcher: buffered.PID()}
	err = s.slice(ctx, logRounds, ours, logged, spared)
	if err := errors.Join(err, hidden.Close()); err != nil {
		return err
	}
	for _, log := range []struct {
		id     string
		v      *visit
		reader *lab.Collector
	}{{"access-log", logged, plain}, {"access-log-buffered", spared, buffered}} {
		sent, err := log.reader.Sum(ctx, "otelcol_exporter_sent_log_records")
		if err != nil {
			return err
		}
		b.found(log.id, ratios(ours.found.added(), log.v.found.added()), "%.2f against %.2f µs a request; %.0f records of %.0f lines sent",
			ours.found.added().median(), log.v.found.added().median(), sent, log.v.found.passed+log.v.found.before)
		b.found(log.id+"-added", log.v.found.added(), "of %.1f µs; the collector's own %.2f µs included",
			log.v.found.without.median()*1e6, log.v.found.own*1e6)
		b.found(log.id+"-rate", log.v.found.loss(), "of %.0f requests/s", log.v.found.perSecond.median())
	}
	return nil
}

// startLogReader runs a collector that parses the lines of an access log, and exports like ours.
func (s *site) startLogReader(ctx context.Context, b *bench, name string, telemetry int) (*lab.Collector, error) {
	return lab.StartCollector(ctx, lab.Launch{
		Program: b.logReader, In: s.network.Server, Telemetry: telemetry,
		Configuration: fmt.Sprintf(`
receivers:
  filelog:
    include: ["%s/%s"]
    operators: [{type: json_parser, parse_to: attributes}]
exporters:
%s
service:
  pipelines:
    logs: {receivers: [filelog], exporters: [otlp_grpc]}
`, s.web.logs, name, exporterToSink()),
	})
}
