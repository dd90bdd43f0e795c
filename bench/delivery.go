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

// delivery holds the connections to the web server that the kernel counted while
// collectors ran, one after the other, against the records of their ends at the sink.
type delivery struct {
	*site
	// before is what there was when the collector was started that runs.
	before tally
	// seen is what there was of all that ended.
	seen tally
	// difference is how many records were missing, or too many, with each of them.
	difference float64
	// lost is how many connections they say that they lost.
	lost float64
}

// tally is the same from both ends of the way.
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

// end is called after the load. It waits until the records have come, which is a matter
// of batch::max_age, stops the collector, so that none comes later, and returns what it
// was that came.
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
