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

// Account is what the receiver says became of one kind of event.
type Account struct {
	Produced, Delivered, Active, Queued, Lost float64
	// Accounted is false for kinds of which only losses are counted.
	Accounted bool
	// Losses are those that happened.
	Losses map[Loss]float64
}

// Difference is what the account does not explain; 0 at rest.
func (a Account) Difference() float64 {
	if !a.Accounted {
		return 0
	}
	return a.Produced - a.Delivered - a.Active - a.Queued - a.Lost
}

// Since subtracts what had been counted earlier. Active and Queued stay as they are.
func (a Account) Since(before Account) Account {
	a.Produced -= before.Produced
	a.Delivered -= before.Delivered
	a.Lost -= before.Lost
	a.Losses = maps.Clone(a.Losses)
	for loss, n := range before.Losses {
		if a.Losses[loss] -= n; a.Losses[loss] == 0 {
			delete(a.Losses, loss)
		}
	}
	return a
}

// LostWhere lists the losses, the greatest first.
func (a Account) LostWhere() string {
	losses := slices.SortedFunc(maps.Keys(a.Losses), func(x, y Loss) int { return int(a.Losses[y] - a.Losses[x]) })
	if len(losses) == 0 {
		return "nothing"
	}
	texts := make([]string, len(losses))
	for i, loss := range losses {
		texts[i] = fmt.Sprintf("%.0f %s", a.Losses[loss], loss)
	}
	return strings.Join(texts, ", ")
}

// Books are the accounts by the kind of event.
type Books map[string]Account

// BooksOf reads the books from the collector's own metrics.
func BooksOf(metrics []Metric) Books {
	b := Books{}
	for _, m := range metrics {
		name, ours := strings.CutPrefix(m.Name, "otelcol_ebpf_tcp_")
		event := m.Labels["event"]
		if name == "connections_active" {
			event = "connection"
		}
		if ours && event != "" {
			a := b[event]
			a.add(name, m)
			b[event] = a
		}
	}
	return b
}

func (a *Account) add(name string, m Metric) {
	switch name {
	case "produced":
		a.Produced += m.Value
		a.Accounted = true
	case "delivered":
		a.Delivered += m.Value
	case "connections_active":
		a.Active += m.Value
	case "queued":
		a.Queued += m.Value
	case "lost":
		if m.Value > 0 {
			if a.Losses == nil {
				a.Losses = map[Loss]float64{}
			}
			a.Lost += m.Value
			a.Losses[Loss{m.Labels["place"], m.Labels["reason"]}] += m.Value
		}
	}
}

// Balanced tells whether every account explains all of its events.
func (b Books) Balanced() bool {
	for _, a := range b {
		if a.Difference() != 0 {
			return false
		}
	}
	return true
}
