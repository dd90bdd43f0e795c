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
	"slices"
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
	// restTime is how often a watcher is asked whether it has read all, catchUp how long it may take.
	restTime = 50 * time.Millisecond
	catchUp  = 10 * time.Second
)

// slicing alternates between loads that are watched and one that is not, because requests per second
// wander over seconds. Each has a wrk of its own that stands still meanwhile, so that watchers
// see all of some connections and nothing of others: programs never miss a packet in the middle.
type slicing struct {
	web    *webServer
	status *statusPage
	// alone is the load that nobody watches.
	alone  *lab.Process
	visits []*visit
}

// visit is a load that is watched.
type visit struct {
	// path is what it asks for.
	path string
	// hidden hides the packets of other loads from programs; nil without any.
	hidden *bypass
	// watcher is the process that is charged with reading.
	watcher int
	wrk     *lab.Process
	// idle is the watcher's CPU time per second that it sees nothing.
	idle float64
	// used is the watcher's CPU time before, shown how long it saw its load.
	used, shown time.Duration
	found       sliced
}

func (v *visit) hide() error {
	if v.hidden == nil {
		return nil
	}
	return v.hidden.hide()
}

func (v *visit) show() error {
	if v.hidden == nil {
		return nil
	}
	return v.hidden.show()
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
	// perSecond is requests per second without programs, passed the requests that passed them, and
	// before those that passed them before the first slice.
	perSecond      sample
	passed, before float64
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

// slice runs a wrk for each visit and one more, and takes a slice of each in turns.
func (s *site) slice(ctx context.Context, rounds int, visits ...*visit) (err error) {
	status, err := s.web.openStatus()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, status.Close()) }()
	run := &slicing{web: s.web, status: status, visits: visits}
	defer func() { err = errors.Join(err, run.stop()) }()
	for _, v := range visits {
		if err := run.begin(ctx, v); err != nil {
			return err
		}
	}
	if err := run.idle(ctx); err != nil {
		return err
	}
	if run.alone, err = lab.Start(s.web.wrk(ctx, time.Hour, false, "/")); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	return run.all(ctx, rounds)
}

// begin runs a load for a second, so that its watcher takes the memory that it will have later.
func (r *slicing) begin(ctx context.Context, v *visit) error {
	begin, err := r.status.requests()
	if err != nil {
		return err
	}
	if v.wrk, err = lab.Start(r.web.wrk(ctx, time.Hour, false, v.path)); err != nil {
		return err
	}
	if err := errors.Join(pause(ctx, time.Second), r.stand(ctx, v)); err != nil {
		return err
	}
	end, err := r.status.requests()
	v.found.before = end - begin
	return err
}

func (r *slicing) loads() []*lab.Process {
	loads := []*lab.Process{r.alone}
	for _, v := range r.visits {
		loads = append(loads, v.wrk)
	}
	return slices.DeleteFunc(loads, func(wrk *lab.Process) bool { return wrk == nil })
}

func (r *slicing) stop() error {
	var failed []error
	for _, wrk := range r.loads() {
		// Not SIGINT, which wrk waits for in its first thread only. If that has not run since
		// SIGCONT, the kernel gives the signal to another thread.
		wrk.Signal(unix.SIGCONT)
		failed = append(failed, wrk.Stop(unix.SIGTERM))
	}
	return errors.Join(failed...)
}

// stand stops a load that is watched, and waits until its watcher has read all. Packets on their way
// are seen.
func (r *slicing) stand(ctx context.Context, v *visit) error {
	v.wrk.Signal(unix.SIGSTOP)
	return errors.Join(pause(ctx, standstill), v.hide(), v.rest(ctx))
}

// rest waits until a watcher hardly uses a CPU any more.
func (v *visit) rest(ctx context.Context) error {
	const share = 10 // of the time
	for begin := time.Now(); time.Since(begin) < catchUp; {
		before, err := exactCPU(v.watcher)
		if err := errors.Join(err, pause(ctx, restTime)); err != nil {
			return err
		}
		after, err := exactCPU(v.watcher)
		if err != nil || after-before < restTime/share {
			return err
		}
	}
	return fmt.Errorf("the watcher of %s does not keep up: it still reads after %s", v.path, catchUp)
}

// all takes the slices.
func (r *slicing) all(ctx context.Context, rounds int) error {
	before, err := r.one(ctx)
	if err != nil {
		return err
	}
	for _, v := range r.visits {
		if v.used, err = exactCPU(v.watcher); err != nil {
			return err
		}
	}
	began := time.Now()
	for range rounds {
		for _, v := range r.visits {
			with, err := r.watched(ctx, v)
			if err != nil {
				return err
			}
			after, err := r.one(ctx)
			if err != nil {
				return err
			}
			v.found.add(before, with, after)
			before = after
		}
	}
	for _, v := range r.visits {
		used, err := exactCPU(v.watcher)
		if err != nil {
			return err
		}
		// What it read came while it was shown, but it may have been sent later.
		unseen := time.Since(began) - v.shown
		v.found.own = ((used - v.used).Seconds() - v.idle*unseen.Seconds()) / v.found.passed
	}
	return nil
}

// watched is a slice of a load that is watched.
func (r *slicing) watched(ctx context.Context, v *visit) (with slice, err error) {
	r.alone.Signal(unix.SIGSTOP)
	if err := errors.Join(pause(ctx, standstill), v.show()); err != nil {
		return with, err
	}
	begin, err := r.status.requests()
	if err != nil {
		return with, err
	}
	began := time.Now()
	v.wrk.Signal(unix.SIGCONT)
	if with, err = r.one(ctx); err != nil {
		return with, err
	}
	if err := r.stand(ctx, v); err != nil {
		return with, err
	}
	v.shown += time.Since(began)
	end, err := r.status.requests()
	v.found.passed += end - begin
	r.alone.Signal(unix.SIGCONT)
	return with, err
}

// idle measures the CPU time per second of watchers that see nothing.
func (r *slicing) idle(ctx context.Context) error {
	var failed []error
	for _, v := range r.visits {
		before, err := exactCPU(v.watcher)
		v.used = before
		failed = append(failed, err)
	}
	failed = append(failed, pause(ctx, idleTime))
	for _, v := range r.visits {
		after, err := exactCPU(v.watcher)
		v.idle = (after - v.used).Seconds() / idleTime.Seconds()
		failed = append(failed, err)
	}
	return errors.Join(failed...)
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
	for _, process := range append(r.loads(), r.web.Process) {
		used, err := exactCPU(process.PID())
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

func (w *webServer) openStatus() (*statusPage, error) {
	connection, err := net.Dial("unix", w.logs+statusSocket)
	if err != nil {
		return nil, fmt.Errorf("ask nginx for its counts: %w", err)
	}
	return &statusPage{connection: connection, reader: bufio.NewReader(connection)}, nil
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
func (w *webServer) wrk(ctx context.Context, duration time.Duration, closing bool, path string) *exec.Cmd {
	args := []string{"netns", "exec", string(w.network.Client), "taskset", "-c", w.clientCPU}
	args = append(args, "wrk", "-t1", "-c32", fmt.Sprintf("-d%ds", int(duration.Seconds())))
	if closing {
		args = append(args, "-H", "Connection: close")
	}
	return exec.CommandContext(ctx, "ip", append(args, w.url()+path)...)
}
