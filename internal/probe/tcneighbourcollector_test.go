// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
)

// collectorEnv makes the test binary a process with one probe, which can be killed:
// its value is the TC mode, the position and the interface. Or it is an instance with
// filters and nothing else, which takes less time to start.
const (
	collectorEnv   = "EBPF_TCP_TEST_COLLECTOR"
	onlyAnInstance = "instance"
)

func init() {
	if config := strings.Fields(os.Getenv(collectorEnv)); len(config) > 0 {
		run := runCollector
		if config[0] == onlyAnInstance {
			run = runInstance
		}
		if err := run(config, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "collector:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// runCollector answers "count" with the data packets so far, in and out, and ends
// with "stop" or with its standard input.
func runCollector(config []string, in io.Reader, out io.Writer) error {
	logger, err := zap.NewDevelopment()
	if err != nil {
		return err
	}
	p, err := New(testConfig(mode(TCMode(config[0])), included(config[2]), func(c *Config) {
		c.TCFirst = config[1] == "first"
		c.AcceptTracepoint, c.Drops, c.Retransmits = false, false, false
	}), logger)
	if err != nil {
		return err
	}
	if err := p.Start(&recorder{overflows: make(map[uint64]uint64)}); err != nil {
		return err
	}
	fmt.Fprintln(out, "started")
	commands := bufio.NewScanner(in)
	for commands.Scan() && commands.Text() == "count" {
		var counts [tcDirections]uint64
		for _, i := range p.tc.counters() {
			if i.Egress {
				counts[tcEgress] += i.Packets[packet.Data]
			} else {
				counts[tcIngress] += i.Packets[packet.Data]
			}
		}
		fmt.Fprintln(out, counts[tcIngress], counts[tcEgress])
	}
	if err := p.Close(); err != nil {
		return err
	}
	fmt.Fprintln(out, "stopped")
	return nil
}

// runInstance adds filters to the interfaces that are named and waits to be killed.
func runInstance(config []string, in io.Reader, out io.Writer) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdictNext), asm.Return()},
	})
	if err != nil {
		return err
	}
	a := newTestAttacher(&Config{Packets: Packets{TCMode: TCClsact}}, handle)
	for _, name := range config[1:] {
		device, err := handle.LinkByName(name)
		if err != nil {
			return err
		}
		for d := range tcDirections {
			if _, err := a.attach(device.Attrs().Index, d, prog); err != nil {
				return err
			}
		}
	}
	a.lock.release()
	fmt.Fprintln(out, "started")
	_, err = io.Copy(io.Discard, in)
	return err
}

// collector is such a process, in the network namespace of the test.
type collector struct {
	t       *testing.T
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	log     lockedBuffer
	end     sync.Once
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

func startCollector(t *testing.T, m TCMode, position, device string) *collector {
	t.Helper()
	needing(t, needsOf(&Config{Packets: Packets{TCMode: m}})...)
	return startProcess(t, string(m), position, device)
}

// startProcess gives each a pid namespace of its own, as containers have.
func startProcess(t *testing.T, config ...string) *collector {
	t.Helper()
	c := &collector{t: t, process: exec.Command("/proc/self/exe")}
	c.process.Env = append(os.Environ(), collectorEnv+"="+strings.Join(config, " "))
	c.process.Stderr = &c.log
	c.process.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	var err error
	c.in, err = c.process.StdinPipe()
	require.NoError(t, err)
	out, err := c.process.StdoutPipe()
	require.NoError(t, err)
	c.out = bufio.NewScanner(out)
	require.NoError(t, c.process.Start())
	t.Cleanup(c.kill)
	c.expect("started")
	return c
}

func (c *collector) answer() string {
	c.t.Helper()
	require.Truef(c.t, c.out.Scan(), "the collector ended: %s", &c.log)
	return c.out.Text()
}

func (c *collector) expect(answer string) {
	c.t.Helper()
	require.Equalf(c.t, answer, c.answer(), "%s", &c.log)
}

// seen counts data packets on the interface since the start.
func (c *collector) seen(d tcDirection) uint64 {
	c.t.Helper()
	_, err := fmt.Fprintln(c.in, "count")
	require.NoError(c.t, err)
	var counts [tcDirections]uint64
	_, err = fmt.Sscan(c.answer(), &counts[tcIngress], &counts[tcEgress])
	require.NoError(c.t, err)
	return counts[d]
}

// kill is a crash: the process can't clean up.
func (c *collector) kill() {
	c.end.Do(func() {
		_ = c.process.Process.Kill()
		_ = c.process.Wait()
	})
}

func (c *collector) stop() {
	c.t.Helper()
	c.end.Do(func() {
		_, err := fmt.Fprintln(c.in, "stop")
		require.NoError(c.t, err)
		c.expect("stopped")
		require.NoErrorf(c.t, c.process.Wait(), "%s", &c.log)
	})
}
