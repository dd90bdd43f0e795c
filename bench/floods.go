// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

const (
	// floodSYNs is how many sources send a SYN, and how many go to closed ports.
	floodSYNs = 1_000_000
	// floodChurn is how long connections come and go as fast as they can.
	floodChurn = 3 * time.Second
	// warmUpPart is the part of the SYNs that is sent first, with the same churn. The process
	// then has the memory that it needs for any amount of such traffic.
	warmUpPart = 10
	// floodPatience is how long the counts may lag behind what was sent.
	floodPatience = 10 * time.Second
	// floodInterval is shorter than the default, so that counts settle sooner.
	floodInterval = 2 * time.Second
)

// measureFloods floods a server with SYNs and with connections. It measures whether the
// collector needs more memory for more of them, and whether it accounts for every one.
func measureFloods(ctx context.Context, b *bench) error {
	return errors.Join(
		b.floods(ctx, "floods", false),
		b.floods(ctx, "floods-half-open", true))
}

// floods measures the figures whose ids begin with name. Other clients are excluded, so that
// counts are exact. Apart from that and the intervals, all settings are defaults.
func (b *bench) floods(ctx context.Context, name string, halfOpen bool) (err error) {
	s, err := openSite(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	// Answers go to the client, which forwards nothing.
	if err := s.network.RouteToClient(lab.FloodSources()); err != nil {
		return err
	}
	f := floodSite{site: s, tracked: halfOpen}
	f.agent, err = startServingAgent(ctx, b, s.network.Server, fmt.Sprintf(`
    collection_interval: %[1]s
    clients: {include: [%[2]s, %[3]s]}
    connections: {half_open: %[4]t, handshake_timeout: %[1]s}
`, floodInterval, lab.FloodSources(), s.network.Client4, halfOpen))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.agent.Close()) }()
	idle, err := f.agent.memory()
	if err != nil {
		return err
	}
	warm, err := f.all(ctx, warmUpPart)
	if err != nil {
		return err
	}
	full, err := f.all(ctx, 1)
	if err != nil {
		return err
	}
	after, err := f.agent.memory()
	if err != nil {
		return err
	}
	const mib = 1 << 20
	b.found(name+"-resident", sample{(max(full.most.resident, after.resident) - warm.most.resident) / mib},
		"%.0f MiB idle, at most %.0f during a tenth and %.0f during all, %.0f after",
		idle.resident/mib, warm.most.resident/mib, full.most.resident/mib, after.resident/mib)
	b.found(name+"-maps", sample{(max(full.most.maps, after.maps) - idle.maps) / mib}, "%.1f MiB", after.maps/mib)
	b.found(name+"-difference", sample{warm.difference + full.difference}, "%s", strings.Join(full.seen, ". "))
	return nil
}

// floodSite is a site under floods.
type floodSite struct {
	*site
	agent *collector
	// tracked is set if half-open attempts are tracked, and so become failed ones.
	tracked bool
	// sources is how many have sent a SYN, so that each sends only one.
	sources int
}

// floodResult is the effect of all floods, one after the other, on a collector.
type floodResult struct {
	most memory
	// difference is how many attempts were sent and not counted, or the reverse.
	difference float64
	// seen says what was sent, and how it was counted.
	seen []string
}

// all runs each flood, with only a part of the SYNs.
func (f *floodSite) all(ctx context.Context, part int) (r floodResult, err error) {
	r.most, err = f.agent.most(func() error {
		return errors.Join(f.bySources(ctx, &r, part), f.byPorts(ctx, &r, part), f.churn(ctx, &r))
	})
	return r, err
}

// bySources sends one SYN to the web server from each of a million sources. All have to be
// counted as packets, and all that are tracked as failed attempts.
func (f *floodSite) bySources(ctx context.Context, r *floodResult, part int) error {
	before, err := f.counted(ctx)
	if err != nil {
		return err
	}
	sent, rate, err := f.send(ctx, "sources", f.sources, floodSYNs/part)
	if err != nil {
		return err
	}
	f.sources += floodSYNs / part
	after, err := f.until(ctx, func(now count) bool {
		return now.syns >= before.syns+sent && (!f.tracked || now.failed.Produced >= before.failed.Produced+sent)
	})
	if err != nil {
		return err
	}
	r.add(sent, after.syns-before.syns, "%.0f SYNs of as many sources at %.0fk/s", sent, rate)
	if f.tracked {
		r.account(sent, after.failed.Since(before.failed), "As many half-open attempts")
	}
	return nil
}

// byPorts sends as many SYNs to closed ports. Each is refused, which is an event.
func (f *floodSite) byPorts(ctx context.Context, r *floodResult, part int) error {
	before, err := f.counted(ctx)
	if err != nil {
		return err
	}
	sent, rate, err := f.send(ctx, "ports", 0, floodSYNs/part)
	if err != nil {
		return err
	}
	after, err := f.until(ctx, func(now count) bool { return now.failed.Produced >= before.failed.Produced+sent })
	if err != nil {
		return err
	}
	r.account(sent, after.failed.Since(before.failed), "%.0f SYNs to %d ports at %.0fk/s", sent, lab.ClosedPorts, rate)
	return nil
}

// churn has wrk make connections for one request each.
func (f *floodSite) churn(ctx context.Context, r *floodResult) error {
	before, err := f.counted(ctx)
	if err != nil {
		return err
	}
	if _, err := f.web.loadFor(ctx, floodChurn, true); err != nil {
		return err
	}
	after, err := f.until(ctx, func(now count) bool {
		return now.connections.Produced-before.connections.Produced >= now.opened-before.opened
	})
	if err != nil {
		return err
	}
	opened := after.opened - before.opened
	r.account(opened, after.connections.Since(before.connections), "%.0f connections at %.0fk/s",
		opened, opened/floodChurn.Seconds()/1000)
	return nil
}

func (r *floodResult) add(sent, accounted float64, seen string, args ...any) {
	seen = fmt.Sprintf(seen, args...)
	if sent != accounted {
		r.difference += max(sent-accounted, accounted-sent)
		seen += fmt.Sprintf(", but counted are %.0f", accounted)
	}
	r.seen = append(r.seen, seen)
}

// account compares what was sent with what was produced, and notes the losses.
func (r *floodResult) account(sent float64, a lab.Entry, seen string, args ...any) {
	r.add(sent, a.Produced, seen+" (lost: %s)", append(args, a.LostWhere())...)
}

// send has another process send SYNs. It returns how many arrived, and the rate in
// thousands per second.
func (f *floodSite) send(ctx context.Context, kind string, first, syns int) (sent, rate float64, err error) {
	before, err := dropped(ctx, f.network.Client)
	if err != nil {
		return 0, 0, err
	}
	a, err := act(ctx, f.network.Client, "flood", f.network.At(webPort).String(), kind, fmt.Sprint(first), fmt.Sprint(syns), "0s")
	if err != nil {
		return 0, 0, err
	}
	defer a.Kill()
	var w lab.Work
	if err := a.Result(&w); err != nil {
		return 0, 0, err
	}
	if w.Failed > 0 {
		return 0, 0, fmt.Errorf("%d of %d SYNs could not be sent", w.Failed, syns)
	}
	after, err := dropped(ctx, f.network.Client)
	return float64(w.Done) - (after - before), float64(w.Done) / w.Seconds / 1000, err
}

// dropped is how many packets the other end of the veth pair had no room for.
func dropped(ctx context.Context, in lab.Namespace) (float64, error) {
	text, err := in.Run(ctx, "cat", "/sys/class/net/eth0/statistics/tx_dropped")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return 0, fmt.Errorf("read how many packets were dropped: %w", err)
	}
	return n, nil
}

// count has the collector's counts and the kernel's own.
type count struct {
	// syns is how many SYNs arrived, by the receiver's metric of packets.
	syns                float64
	failed, connections lab.Entry
	// opened is how many connections the client opened, by the kernel's counters.
	opened float64
}

// counted waits until the ledger balances and the counts no longer change.
func (f *floodSite) counted(ctx context.Context) (count, error) {
	var last count
	return f.until(ctx, func(now count) bool {
		rests := now.failed.Produced == last.failed.Produced && now.syns == last.syns && now.connections.Active == 0
		last = now
		return rests
	})
}

// until waits until the ledger balances, and the counts meet a condition or time is up.
func (f *floodSite) until(ctx context.Context, condition func(count) bool) (now count, err error) {
	deadline := time.Now().Add(floodPatience)
	var countErr error
	_, err = f.agent.atRest(ctx, func(b lab.Ledger) bool {
		now, countErr = f.count(ctx, b)
		return countErr != nil || condition(now) || time.Now().After(deadline)
	})
	return now, errors.Join(countErr, err)
}

// count adds the counts that are not in the ledger.
func (f *floodSite) count(ctx context.Context, b lab.Ledger) (count, error) {
	c := count{failed: b["failed"], connections: b["connection"]}
	served, err := f.agent.In.Scrape(ctx, servedMetricsPort)
	if err != nil {
		return c, err
	}
	for _, m := range served {
		if m.Name == "tcp_server_packets" && m.Has("network_io_direction", "receive", "tcp_packet_class", "syn") {
			c.syns += m.Value
		}
	}
	c.opened, err = opened(ctx, f.network.Server)
	return c, err
}

// opened is how many connections others have opened to a namespace. Those within it, such as
// the one to the sink, are both passive and active opens.
func opened(ctx context.Context, in lab.Namespace) (float64, error) {
	counters, err := in.Counters(ctx)
	return counters["PassiveOpens"] - counters["ActiveOpens"], err
}
