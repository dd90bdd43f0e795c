// SPDX-License-Identifier: Apache-2.0

// Package screen lays out the live model as tables. What draws them, a terminal or plain text,
// knows no more than their cells.
package screen

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/event"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/line"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/model"
)

// State is what the tables show.
type State struct {
	model.Snapshot
	// Hooks and Losses are of the receiver in this process.
	Hooks  []Hook
	Losses []Loss
}

// Hook is a hook of the kernel. Missing is why it is not attached, and empty if it is.
type Hook struct{ Name, Missing string }

// Loss is what became of records that reached nobody.
type Loss struct {
	Event, Place, Reason string
	Count                int64
}

// Column is a column of a table.
type Column struct {
	Title string
	// Right aligns numbers.
	Right bool
}

// Cell is a text, and the number that it stands for; NaN if it stands for none.
type Cell struct {
	Text  string
	Value float64
}

// View is a table.
type View struct {
	// Name is one word. Its first letter is not unique; Key is.
	Name    string
	Key     rune
	Columns []Column
	// OfReceiver is for what only the process of a receiver knows.
	OfReceiver bool
	// Rows returns the cells, in the order that most people want.
	Rows func(*State) [][]Cell
}

// Views returns all tables, in the order of their keys.
func Views() []View {
	return []View{
		{"services", '1', columns("PORT", "PROCESS", "*OPEN", "*NEW/S", "*FAIL/S", "*REQ/S", "*ERR/S", "*P50", "*P99", "*RTT", "*IN/S", "*OUT/S"), false, services},
		{"clients", '2', columns("CLIENT", "*CONNS", "*FAILED", "*REQUESTS", "*BYTES", "LAST PORT", "PROCESS", "LAST"), false, clients},
		{"failures", '3', columns("PORT", "PROCESS", "REASON", "*COUNT", "LAST CLIENT", "LAST"), false, failures},
		{"queues", '4', columns("PORT", "PROCESS", "*QUEUED", "*LIMIT", "*FULL", "*OVERFLOWS/S"), false, queues},
		{"requests", '5', columns("PORT", "PROCESS", "*COUNT", "*ERRORS", "*P50", "*P99", "REQUEST"), false, requests},
		{"threats", '6', columns("TIME", "RULE", "CLIENT", "STATE", "WHAT"), false, threats},
		{"events", '7', columns("EVENT"), false, events},
		{"hooks", '8', columns("HOOK", "STATE"), true, hooks},
	}
}

// columns makes columns of titles. One that begins with an asterisk has numbers.
func columns(titles ...string) []Column {
	all := make([]Column, 0, len(titles))
	for _, title := range titles {
		name, right := strings.CutPrefix(title, "*")
		all = append(all, Column{name, right})
	}
	return all
}

func services(s *State) [][]Cell {
	rows := make([][]Cell, 0, len(s.Services))
	for i := range s.Services {
		r := &s.Services[i]
		rows = append(rows, append(whose(r.ServiceKey),
			count(r.Open), perSecond(r.Opened), perSecond(r.Failed), perSecond(r.Requests), perSecond(r.Errors),
			span(float64(r.Answer)), span(float64(r.Slowest)), span(float64(r.RTT)), size(r.Received), size(r.Sent)))
	}
	return rows
}

func clients(s *State) [][]Cell {
	rows := make([][]Cell, 0, len(s.Clients))
	for i := range s.Clients {
		r := &s.Clients[i]
		rows = append(rows, []Cell{
			text(r.Address), count(r.Connections), count(r.Failed), count(r.Requests), size(float64(r.Bytes)),
			port(r.Port), text(r.Process), clock(r.Last),
		})
	}
	return rows
}

func failures(s *State) [][]Cell {
	rows := make([][]Cell, 0, len(s.Failures))
	for i := range s.Failures {
		r := &s.Failures[i]
		rows = append(rows, []Cell{port(r.Port), text(r.Process), text(r.Reason), count(r.Count), text(r.Client), clock(r.Last)})
	}
	return rows
}

// queues has the fullest first.
func queues(s *State) [][]Cell {
	var rows [][]Cell
	for i := range s.Services {
		r := &s.Services[i]
		if r.Limit < 0 {
			continue
		}
		full := Cell{"", 0}
		if r.Limit > 0 && r.Queued >= 0 {
			share := 100 * float64(r.Queued) / float64(r.Limit)
			full = Cell{strconv.FormatFloat(share, 'f', 0, 64) + "%", share}
		}
		rows = append(rows, append(whose(r.ServiceKey), count(r.Queued), count(r.Limit), full, perSecond(r.Overflows)))
	}
	Sort(rows, 4, true)
	return rows
}

func requests(s *State) [][]Cell {
	rows := make([][]Cell, 0, len(s.Requests))
	for i := range s.Requests {
		r := &s.Requests[i]
		rows = append(rows, append(whose(r.ServiceKey),
			count(r.Count), count(r.Errors), span(float64(r.Answer)), span(float64(r.Slowest)), text(r.What)))
	}
	return rows
}

func threats(s *State) [][]Cell {
	rows := make([][]Cell, 0, len(s.Findings))
	for i := range s.Findings {
		r := &s.Findings[i]
		rows = append(rows, []Cell{clock(r.Time), text(r.Rule), text(r.Client), text(r.State), text(r.Text)})
	}
	return rows
}

// events has the newest first.
func events(s *State) [][]Cell {
	rows := make([][]Cell, 0, len(s.Events))
	for i := len(s.Events) - 1; i >= 0; i-- {
		rows = append(rows, []Cell{text(line.Of(&s.Events[i]))})
	}
	return rows
}

// hooks has what is missing or was lost first.
func hooks(s *State) [][]Cell {
	var rows [][]Cell
	for _, l := range s.Losses {
		rows = append(rows, []Cell{
			text("lost: " + l.Event), text(strconv.FormatInt(l.Count, 10) + " at " + l.Place + ": " + l.Reason),
		})
	}
	for _, missing := range []bool{true, false} {
		for _, h := range s.Hooks {
			if (h.Missing != "") != missing {
				continue
			}
			state := "attached"
			if missing {
				state = h.Missing
			}
			rows = append(rows, []Cell{text(h.Name), text(state)})
		}
	}
	return rows
}

// Sort sorts rows by a column: numbers by size, all else as text. Rows that are equal keep their
// order, and those without a number come last.
func Sort(rows [][]Cell, column int, descending bool) {
	slices.SortStableFunc(rows, func(a, b []Cell) int {
		x, y := a[column], b[column]
		if math.IsNaN(x.Value) != math.IsNaN(y.Value) {
			if math.IsNaN(x.Value) {
				return 1
			}
			return -1
		}
		order := cmp.Or(cmp.Compare(x.Value, y.Value), cmp.Compare(x.Text, y.Text))
		if descending {
			return -order
		}
		return order
	})
}

// Matches says whether a cell of the row has the text, whatever its case.
func Matches(row []Cell, text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(row, func(c Cell) bool { return strings.Contains(strings.ToLower(c.Text), text) })
}

func whose(k model.ServiceKey) []Cell {
	name := k.Process
	if k.Host != "" {
		name = strings.TrimSpace(name + " @" + k.Host)
	}
	return []Cell{port(k.Port), text(name)}
}

func text(s string) Cell { return Cell{s, math.NaN()} }

func port(p uint16) Cell { return Cell{strconv.Itoa(int(p)), float64(p)} }

// count is empty for what is not known.
func count(n int64) Cell {
	if n < 0 {
		return Cell{"-", math.NaN()}
	}
	return Cell{strconv.FormatInt(n, 10), float64(n)}
}

func perSecond(v float64) Cell {
	switch {
	case v == 0:
		return Cell{"0", 0}
	case v < 100:
		return Cell{strconv.FormatFloat(v, 'f', 1, 64), v}
	}
	return Cell{strconv.FormatFloat(v, 'f', 0, 64), v}
}

func size(v float64) Cell { return Cell{line.Bytes(int64(v)), v} }

func clock(t time.Time) Cell {
	return Cell{t.Local().Format("15:04:05"), float64(t.UnixNano())}
}

func span(seconds float64) Cell {
	if seconds < 0 {
		return Cell{"-", math.NaN()}
	}
	return Cell{line.Span(event.Seconds(seconds)), seconds}
}
