// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// delivery compares the connections that the kernel counted with the close records at the
// sink, while one collector runs after the other.
type delivery struct {
	*site
	// before is the tally when the running collector started.
	before tally
	// seen sums up the collectors that have ended.
	seen tally
	// difference sums up the missing and the surplus records of each.
	difference float64
	// lost is how many connections they report as lost.
	lost float64
}

// tally counts connections at both ends: opened in the kernel, recorded at the sink.
type tally struct{ opened, recorded float64 }

func (t tally) since(before tally) tally {
	return tally{t.opened - before.opened, t.recorded - before.recorded}
}

func (d *delivery) now(ctx context.Context) (tally, error) {
	opened, err1 := opened(ctx, d.network.Server)
	recorded, err2 := d.sink.recorded(ctx)
	return tally{opened, recorded}, errors.Join(err1, err2)
}

// begin is called while there is no load, before a collector starts.
func (d *delivery) begin(ctx context.Context) (err error) {
	d.before, err = d.now(ctx)
	return err
}

// end is called after the load. It waits for the records, for which batch::max_age is the
// scale, and stops the collector, so that no more arrive. It returns what arrived.
func (d *delivery) end(ctx context.Context, c *collector) (seen tally, err error) {
	deadline := time.Now().Add(lab.Settle / 2)
	err = c.Wait(ctx, "done with sending", func() (bool, error) {
		now, err := d.now(ctx)
		seen = now.since(d.before)
		return seen.recorded >= seen.opened || time.Now().After(deadline), err
	})
	if err != nil {
		return seen, err
	}
	lost, err := c.Sum(ctx, "otelcol_ebpf_tcp_lost", "event", "connection")
	if err != nil {
		return seen, err
	}
	if err := c.Close(); err != nil {
		return seen, err
	}
	now, err := d.now(ctx)
	seen = now.since(d.before)
	d.seen.opened += seen.opened
	d.seen.recorded += seen.recorded
	d.difference += math.Abs(seen.opened - seen.recorded)
	d.lost += lost
	return seen, err
}
