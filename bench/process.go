// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// settle is how long something that must come true may take.
	settle = 30 * time.Second
	// tick is how often it is looked at.
	tick = 50 * time.Millisecond
)

// process is a program that runs until it is stopped.
type process struct {
	name   string
	cmd    *exec.Cmd
	output buffer
	ended  chan struct{}
	err    error
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

// start runs a program; what it prints is kept in output unless the command already
// has somewhere to send it. It ends with this process, however that ends.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{name: filepath.Base(cmd.Path), cmd: cmd, ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.output
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.output
	}
	// In a group of its own, so that an interrupt from the terminal reaches only this
	// process, which then stops the others in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks the process to end and waits; one that does not end is killed. It may be
// called again.
func (p *process) stop(sig syscall.Signal) error {
	_ = p.cmd.Process.Signal(sig) // it may have ended
	select {
	case <-p.ended:
		return nil
	case <-time.After(settle):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not stop within %s", p.name, settle)
	}
}

// wait polls until done tells so or fails, the process ends or time is up.
func (p *process) wait(ctx context.Context, what string, done func() (bool, error)) error {
	deadline := time.After(settle)
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return fmt.Errorf("%s ended before it was %s: %w\n%s", p.name, what, p.err, p.output.String())
		case <-deadline:
			return fmt.Errorf("%s is not %s after %s", p.name, what, settle)
		case <-time.After(tick):
		}
	}
}

// run executes a program to its end and returns what it printed.
func run(cmd *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, &stderr)
	}
	return string(text), nil
}

// cpu is the time that all threads of a process have run so far, the kernel's work
// for them included. Threads that ended are left out: Go's do not.
func cpu(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("process %d has no schedstat", pid)
	}
	var total time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		ran, _, _ := strings.Cut(string(text), " ")
		nanoseconds, err := strconv.ParseInt(ran, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU time in %s: %w", file, err)
		}
		total += time.Duration(nanoseconds)
	}
	return total, nil
}

// resident is a process's resident memory in bytes.
func resident(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read resident memory: %w", err)
	}
	kib, err := numberAfter(string(text), "VmRSS:")
	return kib * 1024, err
}

// mapBytes is the kernel memory of the BPF maps that a process holds.
func mapBytes(pid int) (float64, error) {
	maps, err := descriptors(pid, "map_type:")
	if err != nil {
		return 0, err
	}
	if len(maps) == 0 {
		return 0, fmt.Errorf("process %d holds no BPF maps", pid)
	}
	seen, total := map[float64]bool{}, 0.0
	for _, one := range maps {
		id, err := numberAfter(one, "map_id:")
		if err != nil || seen[id] {
			continue
		}
		seen[id] = true
		bytes, err := numberAfter(one, "memlock:")
		if err != nil {
			return 0, err
		}
		total += bytes
	}
	return total, nil
}

// descriptors are what the kernel tells of a process's open files, of those that it
// tells a key of.
func descriptors(pid int, key string) ([]string, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		return nil, fmt.Errorf("list open files: %w", err)
	}
	var found []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(text), key) { // else closed meanwhile
			found = append(found, string(text))
		}
	}
	return found, nil
}

// numberAfter returns the number behind a key.
func numberAfter(text, key string) (float64, error) {
	_, rest, ok := strings.Cut(text, key)
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 {
		return 0, fmt.Errorf("there is no %s", key)
	}
	value, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return 0, fmt.Errorf("behind %s: %w", key, err)
	}
	return value, nil
}
