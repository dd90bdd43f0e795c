// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

const (
	// sliceCount is how many have programs; each has one without on either side.
	sliceCount = 60
	sliceTime  = 400 * time.Millisecond
	// sliceSettle is between two slices: what the programs copied last is read meanwhile.
	sliceSettle = 150 * time.Millisecond
	// standstill is how long packets are waited for once their sender stands still.
	standstill = 30 * time.Millisecond
	// idleTime is how long a watcher is seen without packets.
	idleTime = 3 * time.Second
)

// slicing alternates between a load with programs and one without, because requests per second
// wander over seconds. Each has a wrk of its own that stands still meanwhile, so that the programs
// see all of some connections and nothing of others: they never miss a packet in the middle.
type slicing struct {
	web *webServer
	// seen and unseen are the two loads.
	seen, unseen *lab.Process
	hidden       *bypass
	status       *statusPage
	watcher      int // the process that is charged with reading
}

// slice is what happened in one.
type slice struct {
	requests float64
	// cpu is the CPU time of nginx and wrk.
	cpu  time.Duration
	took time.Duration
}

func (s slice) perRequest() float64 { return s.cpu.Seconds() / s.requests }

// sliced is one run.
type sliced struct {
	// cpu and rate are ratios of each slice with programs to its neighbours: of CPU time per
	// request of nginx and wrk, and of requests per second.
	cpu, rate sample
	// without is the CPU time per request of nginx and wrk without programs, in seconds.
	without sample
	// perSecond is requests per second without programs, passed the requests that passed them.
	perSecond sample
	passed    float64
	// own is the watcher's CPU time per request that passed the programs, in seconds. What it
	// takes without packets counts only while it was not hidden.
	own float64
}

// more is the CPU time per request beyond that without, the watcher's included, in percent.
func (s *sliced) more() sample {
	more := make(sample, len(s.cpu))
	for i := range more {
		more[i] = (s.cpu[i] - 1 + s.own/s.without[i]) * 100
	}
	return more
}

// added is the same in microseconds.
func (s *sliced) added() sample {
	added := make(sample, len(s.cpu))
	for i := range added {
		added[i] = ((s.cpu[i]-1)*s.without[i] + s.own) * 1e6
	}
	return added
}

func (s *sliced) loss() sample {
	return s.rate.each(func(ratio float64) float64 { return (1 - ratio) * 100 })
}

// slice runs wrk twice, and has programs in every other slice.
func (s *site) slice(ctx context.Context, watcher int, hidden *bypass) (_ *sliced, err error) {
	status, err := s.web.openStatus()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, status.Close()) }()
	run := &slicing{web: s.web, hidden: hidden, status: status, watcher: watcher}
	defer func() {
		for _, wrk := range []*lab.Process{run.seen, run.unseen} {
			if wrk != nil {
				// Not SIGINT, which wrk waits for in its first thread only. If that has not run
				// since SIGCONT, the kernel gives the signal to another thread.
				wrk.Signal(unix.SIGCONT)
				err = errors.Join(err, wrk.Stop(unix.SIGTERM))
			}
		}
	}()
	if run.seen, err = lab.Start(s.web.wrk(ctx, time.Hour, false)); err != nil {
		return nil, err
	}
	if err := errors.Join(pause(ctx, time.Second), run.hide(ctx)); err != nil {
		return nil, err
	}
	idle, err := run.idle(ctx)
	if err != nil {
		return nil, err
	}
	if run.unseen, err = lab.Start(s.web.wrk(ctx, time.Hour, false)); err != nil {
		return nil, err
	}
	if err := pause(ctx, time.Second); err != nil {
		return nil, err
	}
	return run.all(ctx, idle)
}

// hide stops the load that is seen, and then hides packets. Those on their way are seen.
func (r *slicing) hide(ctx context.Context) error {
	r.seen.Signal(unix.SIGSTOP)
	if err := errors.Join(pause(ctx, standstill), r.hidden.hide()); err != nil {
		return err
	}
	if r.unseen != nil {
		r.unseen.Signal(unix.SIGCONT)
	}
	return nil
}

// show is the opposite.
func (r *slicing) show(ctx context.Context) error {
	r.unseen.Signal(unix.SIGSTOP)
	if err := errors.Join(pause(ctx, standstill), r.hidden.show()); err != nil {
		return err
	}
	r.seen.Signal(unix.SIGCONT)
	return nil
}

// all takes the slices. A watcher that sees no packets takes idle CPU seconds per second.
func (r *slicing) all(ctx context.Context, idle float64) (*sliced, error) {
	before, err := r.one(ctx)
	if err != nil {
		return nil, err
	}
	ownBefore, err := exactCPU(r.watcher)
	if err != nil {
		return nil, err
	}
	found := &sliced{}
	began, shown := time.Now(), time.Duration(0)
	for range sliceCount {
		with, took, err := r.seenSlice(ctx, found)
		if err != nil {
			return nil, err
		}
		shown += took
		after, err := r.one(ctx)
		if err != nil {
			return nil, err
		}
		found.add(before, with, after)
		before = after
	}
	ownAfter, err := exactCPU(r.watcher)
	// What it read was copied while it was not hidden, but it may have been sent later.
	hiddenFor := time.Since(began) - shown
	found.own = ((ownAfter - ownBefore).Seconds() - idle*hiddenFor.Seconds()) / found.passed
	return found, err
}

// seenSlice is one with programs. It also returns how long they saw packets.
func (r *slicing) seenSlice(ctx context.Context, found *sliced) (with slice, took time.Duration, err error) {
	if err := r.show(ctx); err != nil {
		return with, 0, err
	}
	begin, err := r.status.requests()
	if err != nil {
		return with, 0, err
	}
	began := time.Now()
	if with, err = r.one(ctx); err != nil {
		return with, 0, err
	}
	if err := r.hide(ctx); err != nil {
		return with, 0, err
	}
	end, err := r.status.requests()
	found.passed += end - begin
	return with, time.Since(began), err
}

// idle is the CPU time per second of a watcher that sees no packets.
func (r *slicing) idle(ctx context.Context) (float64, error) {
	before, err := exactCPU(r.watcher)
	if err := errors.Join(err, pause(ctx, idleTime)); err != nil {
		return 0, err
	}
	after, err := exactCPU(r.watcher)
	return (after - before).Seconds() / idleTime.Seconds(), err
}

func (s *sliced) add(before, with, after slice) {
	without := (before.cpu + after.cpu).Seconds() / (before.requests + after.requests)
	rate := (before.requests + after.requests) / (before.took + after.took).Seconds()
	s.perSecond = append(s.perSecond, rate)
	s.without = append(s.without, without)
	s.cpu = append(s.cpu, with.perRequest()/without)
	s.rate = append(s.rate, with.requests/with.took.Seconds()/rate)
}

// one settles, then takes one slice.
func (r *slicing) one(ctx context.Context) (slice, error) {
	if err := pause(ctx, sliceSettle); err != nil {
		return slice{}, err
	}
	before, err := r.now()
	if err != nil {
		return slice{}, err
	}
	begin := time.Now()
	if err := pause(ctx, sliceTime); err != nil {
		return slice{}, err
	}
	after, err := r.now()
	return slice{after.requests - before.requests, after.cpu - before.cpu, time.Since(begin)}, err
}

func (r *slicing) now() (s slice, err error) {
	if s.requests, err = r.status.requests(); err != nil {
		return s, err
	}
	for _, pid := range []int{r.web.PID(), r.seen.PID(), r.unseen.PID()} {
		used, err := exactCPU(pid)
		if err != nil {
			return s, err
		}
		s.cpu += used
	}
	return s, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// exactCPU is the CPU time of a process until this moment: schedstat may be a tick late.
func exactCPU(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduled, &used); err != nil {
		return 0, fmt.Errorf("read the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(used.Nano()), nil
}

// statusPage is a connection to nginx's own count of requests.
type statusPage struct {
	connection net.Conn
	reader     *bufio.Reader
	// asked are our own requests.
	asked float64
}

func (w *webServer) openStatus() (p *statusPage, err error) {
	p = &statusPage{}
	err = w.network.Server.Do(func() (err error) {
		p.connection, err = net.Dial("tcp", w.network.At(statusPort).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask nginx for its counts: %w", err)
	}
	p.reader = bufio.NewReader(p.connection)
	return p, nil
}

func (p *statusPage) Close() error { return p.connection.Close() }

// requests is how many requests of others nginx has had so far.
func (p *statusPage) requests() (float64, error) {
	p.asked++
	if _, err := io.WriteString(p.connection, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return 0, fmt.Errorf("ask nginx for its counts: %w", err)
	}
	for {
		line, err := p.reader.ReadString('\n')
		if err != nil {
			return 0, fmt.Errorf("read nginx's counts: %w", err)
		}
		if strings.HasPrefix(line, "server accepts") {
			break
		}
	}
	line, err := p.reader.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("read nginx's counts: %w", err)
	}
	var accepts, handled, requests float64
	if _, err := fmt.Sscan(line, &accepts, &handled, &requests); err != nil {
		return 0, fmt.Errorf("understand nginx's counts %q: %w", line, err)
	}
	_, err = p.reader.ReadString('\n') // of readers and writers
	return requests - p.asked, err
}

// wrk is the command of a load.
func (w *webServer) wrk(ctx context.Context, duration time.Duration, closing bool) *exec.Cmd {
	args := []string{"netns", "exec", string(w.network.Client), "taskset", "-c", w.clientCPU}
	args = append(args, "wrk", "-t1", "-c32", fmt.Sprintf("-d%ds", int(duration.Seconds())))
	if closing {
		args = append(args, "-H", "Connection: close")
	}
	return exec.CommandContext(ctx, "ip", append(args, w.url())...)
}
