// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// expectation: a test that can't pass on some kernels, and why.
type expectation struct {
	kernels []string
	test    string
	reason  string
}

// parseExpected reads lines of kernels (joined by commas, * for all), the test's
// name as the table prints it, with "package: " in front, and the reason.
func parseExpected(text string) ([]expectation, error) {
	var all []expectation
	for number, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.SplitN(line, "|", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: not KERNELS | TEST | REASON", number+1)
		}
		all = append(all, expectation{
			kernels: strings.Split(strings.TrimSpace(fields[0]), ","),
			test:    strings.TrimSpace(fields[1]),
			reason:  strings.TrimSpace(fields[2]),
		})
	}
	return all, nil
}

// matrix holds results against expectations.
type matrix struct {
	results  []*result
	expected []expectation
	// reasons that the table refers to by number
	reasons []string
	// unexpected ends, for the list below the table
	unexpected []string

	passed, failed, impossible int
}

func newMatrix(results []*result, expected []expectation) *matrix {
	return &matrix{results: results, expected: expected}
}

// print writes table, reasons, what went wrong and the totals; true if all is well.
func (m *matrix) print(to io.Writer) bool {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "test")
	for _, r := range m.results {
		fmt.Fprint(table, "\t", r.name)
	}
	fmt.Fprintln(table)
	for _, test := range m.rows() {
		fmt.Fprint(table, test)
		for _, r := range m.results {
			fmt.Fprint(table, "\t", m.cell(r, test))
		}
		fmt.Fprintln(table)
	}
	fmt.Fprintln(to)
	_ = table.Flush()
	fmt.Fprintln(to)
	for i, reason := range m.reasons {
		fmt.Fprintf(to, "%d: %s\n", i+1, reason)
	}
	for _, r := range m.results {
		fmt.Fprintf(to, "%s is %s\n", r.name, r.release)
		for _, fault := range r.faults {
			m.unexpected = append(m.unexpected, r.name+": "+fault)
			m.failed++
		}
	}
	for _, text := range m.unexpected {
		fmt.Fprintf(to, "\n--- %s\n", text)
	}
	fmt.Fprintf(to, "\nkernels: %d passed, %d failed, %d not possible there\n", m.passed, m.failed, m.impossible)
	return m.failed == 0 && m.passed > 0
}

// rows are the tests of any kernel, without subtests, in the order they ran.
func (m *matrix) rows() []string {
	var rows []string
	for _, r := range m.results {
		for _, test := range r.order {
			if !strings.Contains(test, "/") && !slices.Contains(rows, test) {
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
	wrong, excused := 0, false
	subtests := m.subtests(r, test)
	for _, name := range append(subtests, test) {
		reason := m.reason(r.name, name)
		bad := r.outcomes[name] != passed
		switch {
		case bad && reason != "":
			notes, excused = append(notes, m.note(reason)), true
		case bad && name == test && (excused || wrong > 0):
			// It failed for its subtests.
		case bad:
			wrong++
			m.unexpected = append(m.unexpected, fmt.Sprintf("%s: %s %s\n%s", r.name, name, word(r.outcomes[name]), r.output[name]))
		case reason != "":
			wrong++
			m.unexpected = append(m.unexpected, fmt.Sprintf("%s: %s passes, but is listed as not possible there: %s", r.name, name, reason))
		}
	}
	slices.Sort(notes)
	note := ""
	if notes = slices.Compact(notes); len(notes) > 0 {
		note = " (" + strings.Join(notes, ",") + ")"
	}
	switch {
	case wrong > 0:
		m.failed++
		return "FAIL" + note
	case excused && m.reason(r.name, test) != "":
		m.impossible++
		return "n/a" + note
	case excused:
		m.passed++
		return "pass" + note
	default:
		m.passed++
		return "pass"
	}
}

func (m *matrix) subtests(r *result, test string) []string {
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
		if e.test == test && (slices.Contains(e.kernels, kernel) || slices.Contains(e.kernels, "*")) {
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
