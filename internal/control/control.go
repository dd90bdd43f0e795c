// SPDX-License-Identifier: Apache-2.0

// Package control lets a person ask a running component, over a Unix socket that only its user can
// open. A question and its answer are one line of JSON each.
package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Question is a command with its arguments.
type Question struct {
	Command   string   `json:"command"`
	Arguments []string `json:"arguments,omitempty"`
	// Force asks to do what may cut off the person who asks.
	Force bool `json:"force,omitempty"`
	// From is the address from which that person is logged in; empty if that is not known.
	From string `json:"from,omitempty"`
}

// Answer has lines for a person, or says what is wrong with the question.
type Answer struct {
	Lines []string `json:"lines,omitempty"`
	Error string   `json:"error,omitempty"`
}

// Bounds of a conversation.
const (
	maxQuestion = 4096
	patience    = 10 * time.Second
)

// Server answers questions.
type Server struct {
	listener *net.UnixListener
	path     string
}

// Listen makes the socket, with mode 0600 from the start. It replaces one that a dead process left.
func Listen(path string) (*Server, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("listen at %s: another process does", path)
	}
	// Nobody can connect before it has its mode.
	fresh := path + ".new"
	_ = os.Remove(fresh)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	listener.SetUnlinkOnClose(false)
	if err = os.Chmod(fresh, 0o600); err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		_ = os.Remove(fresh)
		return nil, errors.Join(fmt.Errorf("listen at %s: %w", path, err), listener.Close())
	}
	return &Server{listener, path}, nil
}

// Serve answers one question after the other until the context ends, and removes the socket.
func (s *Server) Serve(ctx context.Context, answer func(Question) Answer) error {
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() })
	defer stop()
	defer os.Remove(s.path)
	for {
		conn, err := s.listener.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept at %s: %w", s.path, err)
		}
		if err != nil {
			// For want of descriptors, for example. It passes.
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		converse(conn, answer)
	}
}

// converse gives up on a client that is slow.
func converse(conn net.Conn, answer func(Question) Answer) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(patience)) != nil {
		return
	}
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, maxQuestion)
	if !lines.Scan() {
		return
	}
	var q Question
	a := Answer{Error: "not a question"}
	if json.Unmarshal(lines.Bytes(), &q) == nil {
		a = answer(q)
	}
	_ = json.NewEncoder(conn).Encode(a)
}

// Ask asks who listens at a path.
func Ask(path string, q Question) (Answer, error) {
	var a Answer
	conn, err := net.DialTimeout("unix", path, patience)
	if err != nil {
		return a, fmt.Errorf("connect to the collector: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return a, err
	}
	if err := json.NewEncoder(conn).Encode(q); err != nil {
		return a, fmt.Errorf("ask the collector: %w", err)
	}
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return a, fmt.Errorf("read the answer of the collector: %w", err)
	}
	return a, nil
}
