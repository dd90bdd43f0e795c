// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// matrix holds results against expectations.
type matrix struct {
	results  []*result
	expected []expectation
	// files has the source of each test
	files map[string]string
	// reasons that the table refers to by number
	reasons []string
	// faults are told in full below the table
	faults []string
	// totals by kernel
	totals map[string]*total
}

type total struct{ passed, failed, impossible int }

func newMatrix(results []*result, expected []expectation, files map[string]string) *matrix {
	m := &matrix{results: results, expected: expected, files: files, totals: map[string]*total{}}
	for _, r := range results {
		m.totals[r.name] = &total{}
	}
	return m
}

// findStale makes a fault of each expectation about a test that did not run on a
// kernel that came to its end.
func (m *matrix) findStale() {
	for _, e := range m.expected {
		for _, r := range m.results {
			if e.covers(r.name) && len(r.faults) == 0 && r.outcomes[e.test] == absent {
				m.faults = append(m.faults, fmt.Sprintf("%s: %s is listed as not possible there, but there is no such test", r.name, e.test))
			}
		}
	}
}

// print writes table, reasons, faults and totals; true if all is well.
func (m *matrix) print(to io.Writer) bool {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	m.line(table, "", func(r *result) string { return r.name })
	file := ""
	for _, test := range m.rows() {
		if m.files[test] != file {
			file = m.files[test]
			m.line(table, file, func(*result) string { return "" })
		}
		_, name, _ := strings.Cut(test, ": ")
		m.line(table, "  "+name, func(r *result) string { return m.cell(r, test) })
	}
	fmt.Fprintln(to)
	_ = table.Flush()
	if len(m.reasons) > 0 {
		fmt.Fprintln(to, "\nn/a: not possible there; pass (n): except for a part that is not possible there:")
	}
	for i, reason := range m.reasons {
		fmt.Fprintf(to, "%4d  %s\n", i+1, reason)
	}
	for _, r := range m.results {
		for _, fault := range r.faults {
			m.faults = append(m.faults, r.name+": "+fault)
		}
	}
	for _, text := range m.faults {
		fmt.Fprintf(to, "\n--- %s\n", text)
	}
	fmt.Fprintln(to)
	passed := 0
	for _, r := range m.results {
		t := m.totals[r.name]
		passed += t.passed
		fmt.Fprintf(to, "%s: %d passed, %d failed, %d not possible; %s\n", r.name, t.passed, t.failed, t.impossible, r.release)
	}
	ok := len(m.faults) == 0 && passed > 0
	fmt.Fprintln(to, "kernels:", map[bool]string{true: "ok", false: "FAIL"}[ok])
	return ok
}

// line writes a row: its head, then a cell for each kernel.
func (m *matrix) line(table io.Writer, head string, cell func(*result) string) {
	fmt.Fprint(table, head)
	for _, r := range m.results {
		fmt.Fprint(table, "\t", cell(r))
	}
	fmt.Fprintln(table)
}

// rows are the tests of any kernel, without subtests, in the order they ran.
func (m *matrix) rows() []string {
	var rows []string
	seen := map[string]bool{}
	for _, r := range m.results {
		for _, test := range r.order {
			if !strings.Contains(test, "/") && !seen[test] {
				seen[test] = true
				rows = append(rows, test)
			}
		}
	}
	return rows
}

// cell judges a test with its subtests.
func (m *matrix) cell(r *result, test string) string {
	if r.outcomes[test] == absent {
		return "-"
	}
	var notes []string
	wrong, excused := false, false
	for _, name := range append(r.subtests(test), test) {
		reason := m.reason(r.name, name)
		bad := r.outcomes[name] != passed
		switch {
		case bad && reason != "":
			notes, excused = append(notes, m.note(reason)), true
		case bad && name == test && (excused || wrong):
			// It failed for its subtests.
		case bad:
			wrong = true
			m.faults = append(m.faults, fmt.Sprintf("%s: %s %s\n%s", r.name, name, word(r.outcomes[name]), r.output[name]))
		case reason != "":
			wrong = true
			m.faults = append(m.faults, fmt.Sprintf("%s: %s passes, but is listed as not possible there: %s", r.name, name, reason))
		}
	}
	slices.Sort(notes)
	note := ""
	if notes = slices.Compact(notes); len(notes) > 0 {
		note = " (" + strings.Join(notes, ",") + ")"
	}
	t := m.totals[r.name]
	switch {
	case wrong:
		t.failed++
		return "FAIL" + note
	case excused && m.reason(r.name, test) != "":
		t.impossible++
		return "n/a" + note
	default:
		t.passed++
		return "pass" + note
	}
}

// subtests of a test, in the order they ran.
func (r *result) subtests(test string) []string {
	var names []string
	for _, name := range r.order {
		if strings.HasPrefix(name, test+"/") {
			names = append(names, name)
		}
	}
	return names
}

func (m *matrix) reason(kernel, test string) string {
	for _, e := range m.expected {
		if e.test == test && e.covers(kernel) {
			return e.reason
		}
	}
	return ""
}

// note is the number under which a reason is printed.
func (m *matrix) note(reason string) string {
	at := slices.Index(m.reasons, reason)
	if at < 0 {
		at = len(m.reasons)
		m.reasons = append(m.reasons, reason)
	}
	return fmt.Sprint(at + 1)
}

func word(o outcome) string {
	switch o {
	case failed:
		return "failed"
	case skipped:
		return "was skipped"
	default:
		return "did not end"
	}
}
