// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that runs until it is stopped.
type Process struct {
	Name  string
	cmd   *exec.Cmd
	ended chan struct{}
	// err is how it ended, once ended is closed.
	err    error
	output buffer
}

// buffer takes what a process prints, and may be read meanwhile.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Start runs a program that is killed when this process ends in whatever way. What it
// prints is kept, unless the command already has somewhere to send it.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{Name: filepath.Base(cmd.Path), cmd: cmd, ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.output
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.output
	}
	// In a group of its own: an interrupt from the terminal reaches only this process,
	// which then stops the others in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread ends that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	return p, nil
}

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what it has printed, where the command had nowhere else to send it.
func (p *Process) Output() string { return p.output.String() }

// Signal sends one to the process, which may have ended.
func (p *Process) Signal(signal syscall.Signal) { _ = p.cmd.Process.Signal(signal) }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Stop asks the process to end and waits; it is killed when it does not. It may be called
// again.
func (p *Process) Stop(signal syscall.Signal) error {
	p.Signal(signal)
	select {
	case <-p.ended:
		return nil
	case <-time.After(Settle):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not stop within %s", p.Name, Settle)
	}
}

// Wait polls until done says so or fails, the process ends or time is up.
func (p *Process) Wait(ctx context.Context, what string, done func() (bool, error)) error {
	deadline := time.After(Settle)
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return fmt.Errorf("%s ended before it was %s: %w\n%s", p.Name, what, p.exit(), p.Output())
		case <-deadline:
			return fmt.Errorf("%s is not %s after %s", p.Name, what, Settle)
		case <-time.After(Tick):
		}
	}
}

// exit is how a process ended that should not have.
func (p *Process) exit() error {
	if p.err == nil {
		return fmt.Errorf("exit status 0")
	}
	return p.err
}

// Run executes a program to its end and returns what it printed.
func Run(cmd *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, text, &stderr)
	}
	return string(text), nil
}

// Status is /proc/PID/status.
func Status(pid int) (map[string]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, fmt.Errorf("read the status of a process: %w", err)
	}
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.TrimSpace(value)
	}
	return status, nil
}
