// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// webPort is the only one that the web server listens on.
const webPort = 8080

// newNetwork makes a network whose client answers for all of clientPool.
func newNetwork() (*lab.Network, error) {
	n, err := lab.NewNetwork(0)
	if err != nil {
		return nil, err
	}
	if err := n.GiveClient(netip.MustParsePrefix(clientPool)); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// site surrounds the measured receiver: a web server and its client in namespaces of their
// own, and a sink beside the server.
type site struct {
	network *lab.Network
	web     *webServer
	sink    *sink
}

// openSite makes a site; close removes all of it.
func openSite(ctx context.Context, b *bench) (_ *site, err error) {
	s := &site{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.network, err = newNetwork(); err != nil {
		return nil, err
	}
	if s.web, err = startNginx(ctx, s.network); err != nil {
		return nil, err
	}
	s.sink, err = startSink(ctx, s.network)
	return s, err
}

func (s *site) close() error {
	var failed []error
	if s.sink != nil {
		failed = append(failed, s.sink.close())
	}
	if s.web != nil {
		failed = append(failed, s.web.Close())
	}
	if s.network != nil {
		failed = append(failed, s.network.Close())
	}
	return errors.Join(failed...)
}

// webServer is nginx as one process, so that it and one thread of wrk fill two CPUs.
// Each is bound to its own CPU: the scheduler makes them share one in some runs, and then a
// connection takes two thirds of the CPU time.
type webServer struct {
	*lab.WebServer
	network *lab.Network
	// clientCPU is wrk's.
	clientCPU string
	// logs is the folder of its access logs.
	logs string
}

func (w *webServer) Close() error { return errors.Join(w.WebServer.Close(), os.RemoveAll(w.logs)) }

// statusSocket is where nginx counts, below the folder of the logs. It is no port, because a flood
// takes every port but that of the web server for closed.
const statusSocket = "/status"

const (
	webMain = "master_process off;"
	webHTTP = logFormat + `
	keepalive_requests 1000000000;
	server {
		listen %[1]s backlog=4096;
		location / { return 200 "ok\n"; }
		location /plain { access_log %[3]s/plain json; return 200 "ok\n"; }
		location /buffered { access_log %[3]s/buffered json buffer=64k; return 200 "ok\n"; }
	}
	server {
		listen unix:%[2]s;
		location / { stub_status; }
	}
`
)

func startNginx(ctx context.Context, n *lab.Network) (*webServer, error) {
	serverCPU, clientCPU, err := twoCPUs()
	if err != nil {
		return nil, err
	}
	logs, err := os.MkdirTemp("", "ebpf-tcp-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for access logs: %w", err)
	}
	w := &webServer{network: n, clientCPU: clientCPU, logs: logs}
	w.WebServer, err = lab.StartWebServer(ctx, n.Server, lab.WebConfiguration{
		Main: webMain, HTTP: fmt.Sprintf(webHTTP, n.At(webPort), logs+statusSocket, logs), Connections: 4096, Port: webPort,
		Prefix: []string{"taskset", "-c", serverCPU},
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(logs))
	}
	return w, nil
}

// twoCPUs are the first two CPUs that this process may use; if it has only one, both are that.
func twoCPUs() (first, second string, err error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return "", "", fmt.Errorf("ask for the CPUs to use: %w", err)
	}
	for cpu := range len(allowed) * strconv.IntSize {
		switch {
		case !allowed.IsSet(cpu):
		case first == "":
			first, second = strconv.Itoa(cpu), strconv.Itoa(cpu)
		default:
			return first, strconv.Itoa(cpu), nil
		}
	}
	return first, second, nil
}

func (w *webServer) url() string { return "http://" + w.network.At(webPort).String() }

// load is what one run of wrk did.
type load struct {
	requests, perSecond float64
	// cpu is the CPU time of nginx and wrk, with what the kernel did in their context.
	cpu time.Duration
}

// loadFor has wrk fetch the page over 32 connections at a time. Each serves one request if
// closing is set, else as many as possible.
func (w *webServer) loadFor(ctx context.Context, duration time.Duration, closing bool) (load, error) {
	cmd := w.wrk(ctx, duration, closing, "/")
	before, err := cpu(w.PID())
	if err != nil {
		return load{}, err
	}
	text, err := lab.Run(cmd)
	if err != nil {
		return load{}, err
	}
	after, err := cpu(w.PID())
	if err != nil {
		return load{}, err
	}
	l := load{cpu: after - before + cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if l.perSecond, err = numberAfter(text, "Requests/sec:"); err != nil {
		return load{}, fmt.Errorf("wrk: %w\n%s", err, text)
	}
	l.requests = l.perSecond * duration.Seconds()
	return l, nil
}
