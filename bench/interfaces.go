// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// measureInterfaces measures what interfaces cost an idle collector: at start, per minute,
// and in memory.
func measureInterfaces(ctx context.Context, b *bench) error {
	start, idle := line{Name: "start"}, line{Name: "one idle minute"}
	memory := line{Name: "kernel maps"}
	for _, count := range []int{1, 8, 64} {
		seen, err := withInterfaces(ctx, b, count)
		if err != nil {
			return err
		}
		x := float64(count)
		start.Points = append(start.Points, point{x, seen.start.Seconds() * 1000})
		idle.Points = append(idle.Points, point{x, seen.minute.Seconds() * 1000})
		memory.Points = append(memory.Points, point{x, seen.maps / (1 << 20)})
	}
	b.plot("interfaces", start, idle)
	b.plot("interface-maps", memory)
	return nil
}

// burden is the CPU time and kernel memory that a collector used.
type burden struct {
	start, minute time.Duration
	maps          float64
}

func withInterfaces(ctx context.Context, b *bench, count int) (seen burden, err error) {
	n, err := newNetwork() // with the first
	if err != nil {
		return seen, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	for i := 1; i < count; i++ {
		err := n.Server.IP(
			fmt.Sprintf("link add eth%d type veth peer name eth%d netns %s", i, i, n.Client),
			fmt.Sprintf("addr add 10.213.%d.1/24 dev eth%d", i, i),
			fmt.Sprintf("link set eth%d up", i))
		if err == nil {
			err = n.Client.IP(fmt.Sprintf("link set eth%d up", i))
		}
		if err != nil {
			return seen, err
		}
	}
	sink, err := startSink(ctx, n)
	if err != nil {
		return seen, err
	}
	defer func() { err = errors.Join(err, sink.close()) }()
	agent, err := startAgent(ctx, b, n.Server, "", "logs", "metrics")
	if err != nil {
		return seen, err
	}
	defer func() { err = errors.Join(err, agent.Close()) }()
	if seen.start, err = cpu(agent.PID()); err != nil {
		return seen, err
	}
	const idle = 10 * time.Second // one default interval
	select {
	case <-ctx.Done():
		return seen, ctx.Err()
	case <-time.After(idle):
	}
	after, err := cpu(agent.PID())
	if err != nil {
		return seen, err
	}
	seen.minute = (after - seen.start) * (time.Minute / idle)
	seen.maps, err = mapBytes(agent.PID())
	return seen, err
}
