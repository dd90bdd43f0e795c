// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const webPort = 8080

// site is what the receiver is measured in: a web server and its client in namespaces
// of their own, and a sink beside the server.
type site struct {
	network *network
	web     *webServer
	sink    *collector
}

// openSite makes one; close removes all of it.
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
	s.sink, err = startSink(ctx, b, s.network.server)
	return s, err
}

func (s *site) close() error {
	var failed []error
	if s.sink != nil {
		failed = append(failed, s.sink.close())
	}
	if s.web != nil {
		failed = append(failed, s.web.close())
	}
	if s.network != nil {
		failed = append(failed, s.network.close())
	}
	return errors.Join(failed...)
}

// webServer is nginx as one process, so that it and one thread of wrk fill two CPUs.
// Each has one of its own: left to the scheduler they share one in some runs, where a
// connection takes two thirds of the CPU time.
type webServer struct {
	*process
	in     *network
	folder string
	// clientCPU is wrk's.
	clientCPU string
}

const nginxConfiguration = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events { worker_connections 4096; }
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path %[1]s;
	proxy_temp_path %[1]s;
	fastcgi_temp_path %[1]s;
	uwsgi_temp_path %[1]s;
	scgi_temp_path %[1]s;
	server {
		listen %[2]s:%[3]d backlog=4096;
		location / { return 200 "ok\n"; }
	}
}
`

func startNginx(ctx context.Context, n *network) (*webServer, error) {
	serverCPU, clientCPU, err := twoCPUs()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "ebpf-tcp-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for nginx: %w", err)
	}
	w := &webServer{in: n, folder: folder, clientCPU: clientCPU}
	path := filepath.Join(folder, "nginx.conf")
	text := fmt.Sprintf(nginxConfiguration, folder, serverAddress, webPort)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("configure nginx: %w", err)
	}
	if w.process, err = start(n.server.command("taskset", "-c", serverCPU, "nginx", "-p", folder, "-c", path, "-e", "stderr")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	err = w.wait(ctx, "listening", func() (bool, error) {
		return exec.Command("ip", "netns", "exec", string(n.client), "curl", "-sf", w.url()).Run() == nil, nil
	})
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// twoCPUs are the first two that this process may use; the same one twice where there is
// but one.
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

func (w *webServer) close() error {
	return errors.Join(w.stop(syscall.SIGTERM), os.RemoveAll(w.folder))
}

func (*webServer) url() string {
	return "http://" + net.JoinHostPort(serverAddress, fmt.Sprint(webPort)) + "/"
}

// load is what one run of wrk did.
type load struct {
	requests, perSecond float64
	// cpu is what nginx and wrk ran, and whatever the kernel did on their time.
	cpu time.Duration
}

// loadFor has wrk fetch the page over 32 connections at a time, each for one request
// only or for as many as go.
func (w *webServer) loadFor(ctx context.Context, duration time.Duration, closing bool) (load, error) {
	args := []string{"netns", "exec", string(w.in.client), "taskset", "-c", w.clientCPU}
	args = append(args, "wrk", "-t1", "-c32", "-d"+duration.String())
	if closing {
		args = append(args, "-H", "Connection: close")
	}
	cmd := exec.CommandContext(ctx, "ip", append(args, w.url())...)
	before, err := cpu(w.pid())
	if err != nil {
		return load{}, err
	}
	text, err := run(cmd)
	if err != nil {
		return load{}, err
	}
	after, err := cpu(w.pid())
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
