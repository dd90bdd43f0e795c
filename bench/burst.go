// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// burstConnections are open when their server is killed.
const burstConnections = 100_000

// measureBurst resets 100,000 connections at once, as when a server crashes, and
// counts the closes that the receiver loses.
func measureBurst(ctx context.Context, b *bench) error {
	return errors.Join(
		b.burst(ctx, "burst-logs", "logs", "metrics"),
		b.burst(ctx, "burst-metrics", "metrics"))
}

func (b *bench) burst(ctx context.Context, id string, signals ...string) (err error) {
	n, err := newNetwork()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	sink, err := startSink(ctx, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.close()) }()
	agent, err := startAgent(ctx, b, n.Server, "", signals...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.Close()) }()
	h := &held{network: n}
	defer h.close()
	if err := h.grow(ctx, burstConnections); err != nil {
		return err
	}
	if err := agent.sees(ctx, burstConnections); err != nil {
		return err
	}
	start := time.Now()
	h.reset()
	took := time.Since(start)
	rest, err := agent.atRest(ctx, func(b lab.Ledger) bool {
		c := b["connection"]
		return c.Delivered+c.Lost >= burstConnections
	})
	if err != nil {
		return err
	}
	c := rest["connection"]
	b.found(id, sample{c.Lost}, "%s; reset within %s", c.LostWhere(), took.Round(time.Millisecond))
	return nil
}
