// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package tc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/street"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// processEnv makes the test binary a process with programs in a manager, which can be
// killed: its value is the length of the frames to count, the mode, the position, the
// interfaces separated by commas, and the programs as name:order.
const processEnv = "EBPF_TCP_TEST_PACKET_PROGRAM"

func TestMain(m *testing.M) {
	config := strings.Fields(os.Getenv(processEnv))
	if len(config) == 0 {
		goleak.VerifyTestMain(m)
		return
	}
	if err := runProcess(config, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "process:", err)
		os.Exit(1)
	}
}

// runProcess answers "count" with the frames so far, in and out. It ends with "stop" or with
// its standard input.
func runProcess(config []string, in io.Reader, out io.Writer) error {
	logger, err := zap.NewDevelopment()
	if err != nil {
		return err
	}
	length, err := strconv.Atoi(config[0])
	if err != nil {
		return err
	}
	namespace, err := netns.OpenThread()
	if err != nil {
		return err
	}
	m, err := NewRegistry().Open(namespace)
	if err != nil {
		return err
	}
	var states [Directions]*ebpf.Map // of the first program
	var all []*Attached
	for _, program := range config[4:] {
		name, order, _ := strings.Cut(program, ":")
		p := &Program{
			Name: name, Mode: Mode(config[1]), First: config[2] == "first", Refuse: street.RefuseExcluded,
			Interfaces: Selection{Include: strings.Split(config[3], ",")}, Logger: logger,
		}
		if p.Order, err = strconv.Atoi(order); err != nil {
			return err
		}
		var programs [Directions]*ebpf.Program
		for d := range Directions {
			state, counts, err := street.LoadCounter(length)
			if err != nil {
				return err
			}
			if err := state.Put(street.KeyVerdict, int64(street.VerdictNext)); err != nil {
				return err
			}
			programs[d] = counts
			if states[d] == nil {
				states[d] = state
			}
		}
		p.Load = func(d Direction, _ Headers) (*ebpf.Program, error) { return programs[d], nil }
		a, err := m.Add(p)
		if err != nil {
			return err
		}
		all = append(all, a)
	}
	fmt.Fprintln(out, "started")
	commands := bufio.NewScanner(in)
	for commands.Scan() && commands.Text() == "count" {
		var counts [Directions]uint64
		for d := range Directions {
			if err := states[d].Lookup(street.KeyCount, &counts[d]); err != nil {
				return err
			}
		}
		fmt.Fprintln(out, counts[Ingress], counts[Egress])
	}
	for _, a := range all {
		err = errors.Join(err, a.Remove())
	}
	if err := errors.Join(err, m.Close()); err != nil {
		return err
	}
	fmt.Fprintln(out, "stopped")
	return nil
}

// process is such a process, in the network namespace of the test.
type process struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	log lockedBuffer
	end sync.Once
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startOn has programs on the street; one if none is named.
func startOn(s *street.Street, m Mode, position string, programs ...string) *process {
	s.T.Helper()
	return startProcess(s.T, m, position, street.Device, programs...)
}

// startProcess gives each a pid namespace of its own, as containers have.
func startProcess(t testing.TB, m Mode, position, devices string, programs ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command("/proc/self/exe")}
	if len(programs) == 0 {
		programs = []string{"test:1"}
	}
	config := append([]string{strconv.Itoa(street.FrameLength), string(m), position, devices}, programs...)
	p.cmd.Env = append(os.Environ(), processEnv+"="+strings.Join(config, " "))
	p.cmd.Stderr = &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	var err error
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.out = bufio.NewScanner(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(p.kill)
	p.expect("started")
	return p
}

func (p *process) answer() string {
	p.t.Helper()
	require.Truef(p.t, p.out.Scan(), "the process ended: %s", &p.log)
	return p.out.Text()
}

func (p *process) expect(answer string) {
	p.t.Helper()
	require.Equalf(p.t, answer, p.answer(), "%s", &p.log)
}

// logs waits until the process has logged something.
func (p *process) logs(text string) {
	p.t.Helper()
	wire.Within(p.t, wire.Soon, func() bool { return strings.Contains(p.log.String(), text) }, "logs %q", text)
}

// seen counts frames on the interfaces since the start.
func (p *process) Seen(d Direction) uint64 {
	p.t.Helper()
	_, err := fmt.Fprintln(p.in, "count")
	require.NoError(p.t, err)
	var counts [Directions]uint64
	_, err = fmt.Sscan(p.answer(), &counts[Ingress], &counts[Egress])
	require.NoError(p.t, err)
	return counts[d]
}

// kill is a crash: the process can't clean up.
func (p *process) kill() {
	p.end.Do(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
}

func (p *process) stop() {
	p.t.Helper()
	p.end.Do(func() {
		_, err := fmt.Fprintln(p.in, "stop")
		require.NoError(p.t, err)
		p.expect("stopped")
		require.NoErrorf(p.t, p.cmd.Wait(), "%s", &p.log)
	})
}
