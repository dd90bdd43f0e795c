// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
)

// roleVariable turns this test binary into another process with fewer rights: see roles.
const roleVariable = "EBPF_TCP_PROBE_ROLE"

// roles talk JSON, one value per line: orders come in, reports go out.
func roles() map[string]func(*json.Decoder, *json.Encoder) error {
	return map[string]func(*json.Decoder, *json.Encoder) error{
		"probe":      playProbe,
		"tracepoint": playTracepoint,
		"server":     playServer,
		"queue":      playQueue,
		"launcher":   playLauncher,
		"daemon":     playDaemon,
		"nothing":    playNothing,
		"scoped":     playScoped,
	}
}

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := roles()[role](json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
}

// actor is this test binary in a role.
type actor struct {
	t       *testing.T
	cmd     *exec.Cmd
	orders  io.WriteCloser
	reports *json.Decoder
}

// anybody is a user without any rights of its own.
const anybody = 1000

// act starts a role in the network namespace of the test's thread. With attributes
// nil it runs as root; it ends with the test.
func act(t *testing.T, role string, attributes *syscall.SysProcAttr) *actor {
	t.Helper()
	// Only its user can enter the folder of a test binary. Others can use the link.
	a := &actor{t: t, cmd: exec.Command("/proc/self/exe")}
	a.cmd.Args = os.Args[:1]
	a.cmd.Env = append(os.Environ(), roleVariable+"="+role)
	a.cmd.SysProcAttr = attributes
	a.cmd.Stderr = os.Stderr
	var err error
	a.orders, err = a.cmd.StdinPipe()
	require.NoError(t, err)
	reports, err := a.cmd.StdoutPipe()
	require.NoError(t, err)
	a.reports = json.NewDecoder(reports)
	require.NoError(t, a.cmd.Start())
	t.Cleanup(func() {
		_ = a.orders.Close()
		_, _ = io.Copy(io.Discard, reports)
		_ = a.cmd.Wait()
	})
	return a
}

// as returns the attributes of another user's process with only these capabilities.
func as(uid uint32, held ...capability.Capability) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	for _, c := range held {
		attributes.AmbientCaps = append(attributes.AmbientCaps, uintptr(c))
	}
	return attributes
}

func (a *actor) order(value any) {
	a.t.Helper()
	require.NoError(a.t, json.NewEncoder(a.orders).Encode(value))
}

func (a *actor) report(value any) {
	a.t.Helper()
	require.NoError(a.t, a.reports.Decode(value))
}

// probeOrder has the orders for a probe, in two steps.
type probeOrder struct {
	// Memlock is RLIMIT_MEMLOCK in bytes.
	Memlock uint64
	Port    uint16
	// Closes is how many connections to wait for, in the second order.
	Closes int
	// LookUp is a process to find in /proc alone, in the second order.
	LookUp owner.Key
}

// probeReport is the result after Start, and at the end.
type probeReport struct {
	Held     capability.Set
	New      string
	Start    string
	Hooks    []hookReport
	Warnings []string
	// At the end only.
	Closed    []connection.Closed
	Live      []connection.Live
	Processes []owner.Sighting
	LookedUp  *owner.Process
}

type hookReport struct {
	Name, Gives string
	Attached    bool
	Err         string
}

// playProbe starts a probe on every vantage point and drains it.
func playProbe(orders *json.Decoder, reports *json.Encoder) error {
	var order probeOrder
	if err := orders.Decode(&order); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: order.Memlock, Max: order.Memlock}); err != nil {
		return fmt.Errorf("set RLIMIT_MEMLOCK: %w", err)
	}
	var report probeReport
	var err error
	if report.Held, err = capability.Effective(); err != nil {
		return err
	}
	core, warnings := observer.New(zap.WarnLevel)
	cfg := testConfig(onlyPort(order.Port), func(c *Config) { c.TCMode = TCAuto })
	cfg.IncludeInterfaces = []string{"lo"}
	p, err := New(cfg, zap.New(core))
	if err != nil {
		report.New = err.Error()
		return reports.Encode(report)
	}
	defer p.Close()
	netns, err := netns.Current()
	if err != nil {
		return err
	}
	seen := &recorder{netns: netns, overflows: make(map[uint64]uint64)}
	if err := p.Start(seen); err != nil {
		report.Start = err.Error()
	}
	for _, state := range p.Hooks() {
		h := hookReport{Name: state.Name, Gives: state.Gives, Attached: state.Attached}
		if state.Err != nil {
			h.Err = state.Err.Error()
		}
		report.Hooks = append(report.Hooks, h)
	}
	for _, entry := range warnings.All() {
		report.Warnings = append(report.Warnings, fmt.Sprint(entry.Message, " ", entry.ContextMap()))
	}
	if err := reports.Encode(report); err != nil || report.Start != "" {
		return err
	}
	if err := orders.Decode(&order); err != nil {
		return err
	}
	deadline := time.Now().Add(10 * time.Second)
	for len(seen.closed) < order.Closes && time.Now().Before(deadline) {
		if err := p.Drain(time.Now().Add(20 * time.Millisecond)); err != nil {
			return err
		}
	}
	if _, err := p.Snapshot(func(l *connection.Live) { report.Live = append(report.Live, *l) }); err != nil {
		return err
	}
	report.Closed, report.Processes = seen.closed, seen.processes
	report.LookedUp = owner.NewTable(owner.Options{FS: os.DirFS("/"), Container: true}).Process(order.LookUp)
	return reports.Encode(report)
}

// playTracepoint attaches to a syscall tracepoint and reports the error.
func playTracepoint(_ *json.Decoder, reports *json.Encoder) error {
	cfg := testConfig()
	cfg.ExcludeHooks = append(otherWays(&cfg, hook.Syscall, hook.FeatureAccept), cfg.ExcludeHooks...)
	p, err := New(cfg, zap.NewNop())
	if err != nil {
		return err
	}
	p.sockets.Attach()
	report := ""
	for _, a := range p.sockets.Attachments {
		if state := a.States()[0]; state.Feature == hook.FeatureAccept && state.Err != nil {
			report = state.Err.Error()
		}
	}
	return errors.Join(reports.Encode(report), p.Close())
}

// serverName is not the server's executable but its task's name.
const serverName = "not-my-file"

// playServer listens, and leaves one connection in its accept queue until its orders
// end. It reports its port.
func playServer(orders *json.Decoder, reports *json.Encoder) error {
	if err := os.WriteFile("/proc/self/comm", []byte(serverName), 0); err != nil {
		return err
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reports.Encode(portOf(l.Addr())); err != nil {
		return err
	}
	var ignored any
	if err := orders.Decode(&ignored); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
