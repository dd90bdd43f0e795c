// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/line"
)

// plainRows is how many rows of a table are written as text.
const plainRows = 20

// Write writes the tables as text, for files and for terminals without a cursor.
func Write(out io.Writer, views []View, s *State) error {
	w := bufio.NewWriter(out)
	for i := range views {
		rows := views[i].Rows(s)
		more := max(0, len(rows)-plainRows)
		rows = rows[:len(rows)-more]
		fmt.Fprintf(w, "%s\n", strings.ToUpper(views[i].Name))
		writeTable(w, views[i].Columns, rows)
		if more > 0 {
			fmt.Fprintf(w, "(%d more)\n", more)
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write the tables: %w", err)
	}
	return nil
}

func writeTable(w *bufio.Writer, columns []Column, rows [][]Cell) {
	widths := make([]int, len(columns))
	for i, column := range columns {
		widths[i] = utf8.RuneCountInString(column.Title)
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].Text))
		}
	}
	titles := make([]Cell, len(columns))
	for i, column := range columns {
		titles[i].Text = column.Title
	}
	for _, row := range append([][]Cell{titles}, rows...) {
		var b strings.Builder
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell.Text))
			if columns[i].Right {
				b.WriteString(space + cell.Text + "  ")
			} else {
				b.WriteString(cell.Text + space + "  ")
			}
		}
		fmt.Fprintln(w, line.Cut(strings.TrimRight(b.String(), " "), plainColumns))
	}
}

// plainColumns bounds a row of text.
const plainColumns = 160
