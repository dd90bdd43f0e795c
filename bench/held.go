// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"syscall"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

const (
	// clientPool are the addresses that the client answers for.
	clientPool = "10.214.0.0/16"
	// heldPerProcess stays below the number of files that hosts allow a process.
	heldPerProcess = 12_000
	firstHeldPort  = 9000
)

// held are connections that stay open, and the processes that hold their ends.
type held struct {
	network *lab.Network
	count   int
	actors  []*lab.Actor
}

// grow opens connections until there are that many.
func (h *held) grow(ctx context.Context, count int) error {
	for h.count < count {
		n := min(count-h.count, heldPerProcess)
		at := h.network.At(firstHeldPort + len(h.actors)).String()
		server, err := act(ctx, h.network.Server, "hold-server", at)
		if err != nil {
			return err
		}
		h.actors = append(h.actors, server)
		client, err := act(ctx, h.network.Client, "hold-client", at, fmt.Sprint(n), clientPool, fmt.Sprint(h.count))
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
func (h *held) reset() {
	for _, a := range h.actors {
		if a.Name == "hold-server" {
			a.Signal(syscall.SIGKILL)
		}
	}
	for _, a := range h.actors {
		if a.Name == "hold-server" {
			<-a.Ended()
		}
	}
}

// close lets go of all connections.
func (h *held) close() {
	for _, a := range h.actors {
		a.End()
	}
}
