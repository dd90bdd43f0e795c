// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"time"
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
	defer func() { err = errors.Join(err, n.close()) }()
	sink, err := startSink(ctx, b, n.server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.close()) }()
	agent, err := startAgent(ctx, b, n.server, "", signals...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.close()) }()
	h := &held{network: n}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.grow(ctx, burstConnections); err != nil {
		return err
	}
	if err := agent.sees(ctx, burstConnections); err != nil {
		return err
	}
	start := time.Now()
	if err := h.reset(); err != nil {
		return err
	}
	took := time.Since(start)
	rest, err := agent.atRest(ctx, func(b books) bool {
		c := b["connection"]
		return c.delivered+c.lost >= burstConnections
	})
	if err != nil {
		return err
	}
	c := rest["connection"]
	b.found(id, sample{c.lost}, "%s; reset within %s", c.lostWhere(), took.Round(time.Millisecond))
	return nil
}
