// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// passes is the number of snapshots in a row.
	passes = 5
	// passInterval is the time between two, shorter than the default to save time.
	passInterval = 2 * time.Second
)

// measureOpen opens more and more connections. It compares the receiver's passes over them
// with ss over the same sockets, and measures the memory.
func measureOpen(ctx context.Context, b *bench) (err error) {
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
	agent, err := startAgent(ctx, b, n.Server, fmt.Sprintf("    collection_interval: %s\n", passInterval), "logs", "metrics")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.Close()) }()
	h := &held{network: n}
	defer h.close()

	ours, theirs := line{Name: "the collector, one pass"}, line{Name: "ss -tinO, once"}
	memory := line{Name: "resident set"}
	for _, count := range []int{1_000, 10_000, 100_000} {
		if err := h.grow(ctx, count); err != nil {
			return err
		}
		if err := agent.sees(ctx, float64(count)); err != nil {
			return err
		}
		pass, other, err := agent.passAgainstSS(ctx)
		if err != nil {
			return err
		}
		size, err := resident(agent.PID())
		if err != nil {
			return err
		}
		x := float64(count)
		ours.Points = append(ours.Points, point{x, pass.median() * 1000})
		theirs.Points = append(theirs.Points, point{x, other.median() * 1000})
		memory.Points = append(memory.Points, point{x, size / (1 << 20)})
		if count == 100_000 {
			b.found("collector-pass", ratios(pass, other), "%.0f against %.0f ms", pass.median()*1000, other.median()*1000)
			b.found("resident", sample{size / (1 << 20)}, "from 65,536 addresses")
		}
	}
	b.plot("pass", ours, theirs)
	b.plot("resident", memory)
	kernel, err := mapBytes(agent.PID())
	if err != nil {
		return err
	}
	b.found("maps", sample{kernel / (1 << 20)}, "all defaults")
	return nil
}

// passAgainstSS measures CPU seconds in turns: of the whole collector during one interval,
// and of ss over the sockets of the server's namespace.
func (c *collector) passAgainstSS(ctx context.Context) (pass, ss sample, err error) {
	for range passes {
		before, err := cpu(c.PID())
		if err != nil {
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(passInterval):
		}
		after, err := cpu(c.PID())
		if err != nil {
			return nil, nil, err
		}
		pass = append(pass, (after - before).Seconds())
		cmd := c.In.Command("ss", "-tinO")
		if err := cmd.Run(); err != nil { // to /dev/null
			return nil, nil, fmt.Errorf("run ss: %w", err)
		}
		ss = append(ss, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	}
	return pass, ss, nil
}
