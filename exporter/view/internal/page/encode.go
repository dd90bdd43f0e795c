// SPDX-License-Identifier: Apache-2.0

package page

import (
	"bytes"
	"encoding/json"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/model"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/screen"
)

// Bounds of one snapshot.
const (
	maxBytes = 64 << 10
	maxRows  = 200
)

// table is a view in JSON. A cell is a text, or with a number that it stands for [text, number].
type table struct {
	Name    string          `json:"name"`
	Columns []screen.Column `json:"columns"`
	Rows    [][]any         `json:"rows"`
	// More is how many rows found no room.
	More int `json:"more,omitempty"`
}

// message is one snapshot.
type message struct {
	// Time is in milliseconds of Unix time.
	Time    int64   `json:"time"`
	Open    int64   `json:"open"`
	Opened  float64 `json:"opened"`
	Failed  float64 `json:"failed"`
	Asked   float64 `json:"requests"`
	LeftOut int64   `json:"left_out"`
	Tables  []table `json:"tables"`
}

// encode makes a server-sent event of at most maxBytes. Tables have fewer rows if need be.
func encode(s model.Snapshot) []byte {
	m := newMessage(&s)
	for most := maxRows; ; most /= 2 {
		for i := range m.Tables {
			t := &m.Tables[i]
			more := max(0, len(t.Rows)-most)
			t.Rows, t.More = t.Rows[:len(t.Rows)-more], t.More+more
		}
		if text := m.encode(); len(text) <= maxBytes || most == 0 {
			return text
		}
	}
}

func newMessage(s *model.Snapshot) *message {
	m := &message{Time: s.Time.UnixMilli(), LeftOut: s.LeftOut}
	for i := range s.Services {
		m.Open += s.Services[i].Open
		m.Opened += s.Services[i].Opened
		m.Failed += s.Services[i].Failed
		m.Asked += s.Services[i].Requests
	}
	state := &screen.State{Snapshot: *s}
	for _, view := range screen.Views() {
		if view.OfReceiver {
			continue // it is not in the pipeline
		}
		rows := view.Rows(state)
		t := table{Name: view.Name, Columns: view.Columns, More: max(0, len(rows)-maxRows)}
		for _, row := range rows[:len(rows)-t.More] {
			t.Rows = append(t.Rows, cells(row))
		}
		m.Tables = append(m.Tables, t)
	}
	return m
}

// encode makes a server-sent event. The encoder escapes <, > and &, and ends with one line feed; a
// value never has one. It fails only for numbers that are not finite, which the model has not; then
// the event is a comment.
func (m *message) encode() []byte {
	var b bytes.Buffer
	b.WriteString("data: ")
	if err := json.NewEncoder(&b).Encode(m); err != nil {
		return []byte(": this snapshot can't be written\n\n")
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func cells(row []screen.Cell) []any {
	all := make([]any, 0, len(row))
	for _, c := range row {
		if c.Value != c.Value { // NaN: no number
			all = append(all, c.Text)
			continue
		}
		all = append(all, []any{c.Text, c.Value})
	}
	return all
}
