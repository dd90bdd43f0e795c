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
	// flakes are the first failures of tests that passed when run again
	flakes []string
	// faults are printed in full below the table
	faults []string
	// totals by kernel
	totals map[string]*total
}

// total of tests; again are those of the passed that did so when run again.
type total struct{ passed, again, failed, impossible int }

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
			if e.covers(r.name) && len(r.faults) == 0 && r.first.outcomes[e.test] == absent && r.again.outcomes[e.test] == absent {
				m.faults = append(m.faults, fmt.Sprintf("%s: %s is listed as not possible there, but there is no such test", r.name, e.test))
			}
		}
	}
}

// findNeverPossible makes a fault of each test, or part of one, that ran on no kernel: it
// holds nothing true.
func (m *matrix) findNeverPossible() {
	possible := map[string]bool{}
	var tests []string
	for _, r := range m.results {
		for _, test := range r.first.order {
			if _, known := possible[test]; !known {
				tests = append(tests, test)
			}
			here := m.reason(r.name, test) == "" && r.first.lacking(test) == ""
			possible[test] = possible[test] || here
		}
	}
	for _, test := range tests {
		if !possible[test] {
			m.faults = append(m.faults, test+" was possible on no kernel")
		}
	}
}

// print writes table, reasons, flakes, faults and totals; true if all is well.
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
	if len(m.flakes) > 0 {
		fmt.Fprintln(to, "\nPassed only when run again (2nd), and how they failed at first:")
	}
	for _, text := range m.flakes {
		fmt.Fprintln(to, "  "+text)
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
		fmt.Fprintf(to, "%s: %s; %s\n", r.name, t, r.release)
	}
	ok := len(m.faults) == 0 && passed > 0
	fmt.Fprintln(to, "kernels:", map[bool]string{true: "ok", false: "FAIL"}[ok])
	return ok
}

func (t *total) String() string {
	again := ""
	if t.again > 0 {
		again = fmt.Sprintf(", %d of them when run again", t.again)
	}
	return fmt.Sprintf("%d passed%s, %d failed, %d not possible", t.passed, again, t.failed, t.impossible)
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
		for _, test := range r.first.order {
			if !strings.Contains(test, "/") && !seen[test] {
				seen[test] = true
				rows = append(rows, test)
			}
		}
	}
	return rows
}

// cell tells how a test with its subtests ended.
func (m *matrix) cell(r *result, test string) string {
	if r.first.outcomes[test] == absent {
		return "-"
	}
	t := m.totals[r.name]
	j, again := m.settle(r, test)
	var notes []string
	if again {
		t.again++
		notes = append(notes, "2nd")
	}
	for _, f := range j.faults {
		m.faults = append(m.faults, f.on(r.name, f.output))
	}
	notes = append(notes, m.notes(j.reasons)...)
	note := ""
	if len(notes) > 0 {
		note = " (" + strings.Join(notes, ",") + ")"
	}
	switch {
	case j.wrong():
		t.failed++
		return "FAIL" + note
	case j.impossible:
		t.impossible++
		return "n/a" + note
	default:
		t.passed++
		return "pass" + note
	}
}

func (m *matrix) reason(kernel, test string) string {
	for _, e := range m.expected {
		if e.test == test && e.covers(kernel) {
			return e.reason
		}
	}
	return ""
}

// notes are the numbers under which reasons are printed.
func (m *matrix) notes(reasons []string) []string {
	var notes []string
	for _, reason := range reasons {
		at := slices.Index(m.reasons, reason)
		if at < 0 {
			at = len(m.reasons)
			m.reasons = append(m.reasons, reason)
		}
		notes = append(notes, fmt.Sprint(at+1))
	}
	slices.Sort(notes)
	return slices.Compact(notes)
}
