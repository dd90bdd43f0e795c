// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Loss is where events were lost, and why.
type Loss struct{ Place, Reason string }

func (l Loss) String() string { return l.Place + " " + l.Reason }

// Entry accounts for one kind of event, as the receiver counts it.
type Entry struct {
	Produced, Delivered, Active, Queued, LeftOut, Lost float64
	// Accounted is false for kinds of which only losses are counted.
	Accounted bool
	// Losses are those that happened.
	Losses map[Loss]float64
}

// Difference is the number of events that the entry does not explain; 0 at rest.
func (e Entry) Difference() float64 {
	if !e.Accounted {
		return 0
	}
	return e.Produced - e.Delivered - e.Active - e.Queued - e.LeftOut - e.Lost
}

// Since subtracts an earlier entry. Active and Queued stay as they are.
func (e Entry) Since(before Entry) Entry {
	e.Produced -= before.Produced
	e.Delivered -= before.Delivered
	e.LeftOut -= before.LeftOut
	e.Lost -= before.Lost
	e.Losses = maps.Clone(e.Losses)
	for loss, n := range before.Losses {
		if e.Losses[loss] -= n; e.Losses[loss] == 0 {
			delete(e.Losses, loss)
		}
	}
	return e
}

// LostWhere lists the losses, the greatest first.
func (e Entry) LostWhere() string {
	losses := slices.SortedFunc(maps.Keys(e.Losses), func(x, y Loss) int { return int(e.Losses[y] - e.Losses[x]) })
	if len(losses) == 0 {
		return "nothing"
	}
	texts := make([]string, len(losses))
	for i, loss := range losses {
		texts[i] = fmt.Sprintf("%.0f %s", e.Losses[loss], loss)
	}
	return strings.Join(texts, ", ")
}

// Ledger has one entry for each kind of event.
type Ledger map[string]Entry

// LedgerOf reads the ledger from the collector's own metrics.
func LedgerOf(metrics []Metric) Ledger {
	l := Ledger{}
	for _, m := range metrics {
		name, ours := strings.CutPrefix(m.Name, "otelcol_ebpf_tcp_")
		event := m.Labels["event"]
		if name == "connections_active" {
			event = "connection"
		}
		if ours && event != "" {
			e := l[event]
			e.add(name, m)
			l[event] = e
		}
	}
	return l
}

func (e *Entry) add(name string, m Metric) {
	switch name {
	case "produced":
		e.Produced += m.Value
		e.Accounted = true
	case "delivered":
		e.Delivered += m.Value
	case "connections_active":
		e.Active += m.Value
	case "queued":
		e.Queued += m.Value
	case "left_out":
		e.LeftOut += m.Value
	case "lost":
		if m.Value > 0 {
			if e.Losses == nil {
				e.Losses = map[Loss]float64{}
			}
			e.Lost += m.Value
			e.Losses[Loss{m.Labels["place"], m.Labels["reason"]}] += m.Value
		}
	}
}

// Balanced reports whether every entry explains all of its events.
func (l Ledger) Balanced() bool {
	for _, e := range l {
		if e.Difference() != 0 {
			return false
		}
	}
	return true
}
