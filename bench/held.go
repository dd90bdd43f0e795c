// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

const (
	// heldPerProcess stays below the number of files that hosts allow a process.
	heldPerProcess = 12_000
	firstHeldPort  = 9000
)

// held are connections that stay open, and the processes that hold their ends.
type held struct {
	network *network
	count   int
	actors  []*actor
}

// actor is this program in a role.
type actor struct {
	*process
	input io.Closer
}

// self prepares this program in a role.
func (ns namespace) self(role string, args ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return ns.command(path, append([]string{role}, args...)...), nil
}

// act starts a role in a namespace and waits until it is ready.
func act(ctx context.Context, ns namespace, role string, args ...string) (*actor, error) {
	cmd, err := ns.self(role, args...)
	if err != nil {
		return nil, err
	}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe to %s: %w", role, err)
	}
	a := &actor{input: input}
	if a.process, err = start(cmd); err != nil {
		return nil, err
	}
	a.name = role
	err = a.wait(ctx, "ready", func() (bool, error) { return strings.Contains(a.output.String(), "ready"), nil })
	if err != nil {
		return nil, errors.Join(err, a.stop(syscall.SIGKILL))
	}
	return a, nil
}

// grow opens connections until there are that many.
func (h *held) grow(ctx context.Context, count int) error {
	for h.count < count {
		n := min(count-h.count, heldPerProcess)
		at := fmt.Sprintf("%s:%d", serverAddress, firstHeldPort+len(h.actors))
		server, err := act(ctx, h.network.server, "hold-server", at)
		if err != nil {
			return err
		}
		h.actors = append(h.actors, server)
		client, err := act(ctx, h.network.client, "hold-client", at, fmt.Sprint(h.count), fmt.Sprint(n))
		if err != nil {
			return err
		}
		h.actors = append(h.actors, client)
		h.count += n
	}
	return nil
}

// reset ends all connections at once: the servers are killed, and a socket that is
// closed without linger time resets its connection.
func (h *held) reset() error {
	for _, a := range h.actors {
		if a.name != "hold-server" {
			continue
		}
		if err := a.cmd.Process.Kill(); err != nil {
			return fmt.Errorf("kill %s: %w", a.name, err)
		}
	}
	for _, a := range h.actors {
		if a.name == "hold-server" {
			<-a.ended
		}
	}
	return nil
}

// close lets go of all connections.
func (h *held) close() error {
	var failed []error
	for _, a := range h.actors {
		if err := a.input.Close(); !errors.Is(err, os.ErrClosed) { // as it is when the actor has ended
			failed = append(failed, err)
		}
		failed = append(failed, a.stop(syscall.SIGTERM))
	}
	return errors.Join(failed...)
}
