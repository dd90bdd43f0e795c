// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sockets

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// goneConnections remembers, from one pass to the next, entries whose socket no longer
// belongs to them. Once may be a close under way; twice in a row means that the hook missed
// the end.
type goneConnections map[uint64]bool

// Live looks at all open connections and passes each on. It returns the number of entries.
func (v *Vantage) Live(visit func(*connection.Live)) (int, error) {
	if !v.live.Works() {
		fill, err := shared.CountEntries(v.Maps["connections"])
		if err != nil {
			return fill, fmt.Errorf("count the connections: %w", err)
		}
		return fill, nil
	}
	active := 0
	gone := make(goneConnections)
	v.Looks.Begin(time.Now(), v.Context.Clock.Boot())
	err := v.live.Each(func(r *shared.LiveRecord) {
		v.Looks.Take(r)
		switch shared.LookOutcome(r.Look.Outcome) {
		case shared.LookOutcomeEnded:
			return
		case shared.LookOutcomeGone:
			if v.gone[r.Connection.Id] && v.forget(r) {
				return
			}
			gone[r.Connection.Id] = true
		}
		active++
		visit(v.Decoder.look(r))
	})
	v.Looks.End(time.Now(), err)
	v.gone = gone
	return active, err
}

// Look looks at all open connections for Options.Looks alone, if it is time.
func (v *Vantage) Look(now time.Time) error {
	if !v.live.Works() || !v.Looks.Due(now) {
		return nil
	}
	v.Looks.Begin(now, v.Context.Clock.Boot())
	err := v.live.Each(v.Looks.Take)
	v.Looks.End(time.Now(), err)
	return err
}

// forget deletes an entry whose end was missed, unless another connection has it by now.
func (v *Vantage) forget(r *shared.LiveRecord) bool {
	connections := v.Maps["connections"]
	var now shared.Connection
	if connections.Lookup(&r.Look.Sk, &now) != nil || now.Id != r.Connection.Id || connections.Delete(&r.Look.Sk) != nil {
		return false
	}
	v.Shares.ReportDeleted(now.Netns, shared.RoomConnections)
	v.stale++
	return true
}

// Stale is the number of connections whose end the hooks missed, so far.
func (v *Vantage) Stale() int64 { return v.stale }

// PortCounters reads the counters per port. Those of namespaces without a listener end here.
func (v *Vantage) PortCounters() ([]connection.PortCounter, error) {
	counters := v.Maps["port_counters"]
	listen := v.Listeners.Ports.Namespaces()
	listen[v.Context.OwnNetNS] = true
	var all []connection.PortCounter
	var key shared.PortCounterKey
	var ended []shared.PortCounterKey
	perCPU := make([]uint64, ebpf.MustPossibleCPU())
	entries := counters.Iterate()
	for entries.Next(&key, &perCPU) {
		// Containers come and go: their namespaces' counters must not fill the map.
		if !listen[key.Netns] {
			ended = append(ended, key)
			continue
		}
		all = append(all, v.portCounter(&key, perCPU))
	}
	// An entry inserted or deleted meanwhile may end the iteration early. The rest is read
	// next time, for the values are running totals.
	err := entries.Err()
	for i := range ended {
		if counters.LookupAndDelete(&ended[i], &perCPU) != nil {
			// Before 5.14 in two steps: what is counted between them is lost.
			if counters.Lookup(&ended[i], &perCPU) != nil || counters.Delete(&ended[i]) != nil {
				continue
			}
		}
		v.Shares.ReportDeleted(ended[i].Netns, shared.RoomPortCounters)
		final := v.portCounter(&ended[i], perCPU)
		final.Final = true
		all = append(all, final)
	}
	if err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return all, fmt.Errorf("read the port counters: %w", err)
	}
	return all, nil
}

func (v *Vantage) portCounter(key *shared.PortCounterKey, perCPU []uint64) connection.PortCounter {
	counter := connection.PortCounter{
		NetNS: key.Netns,
		Port:  key.Port,
		IPv4:  key.Family == 4,
		What:  connection.PortCount(key.Count),
	}
	switch counter.What {
	case connection.Drops:
		counter.Detail = dropReason(v.Host.DropReasons, key.Detail)
	case connection.Failures:
		counter.Detail = connection.Failure(key.Detail).String()
	}
	for _, n := range perCPU {
		counter.Value += n
	}
	return counter
}
