// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

// judgement of one attempt at a test, its subtests included.
type judgement struct {
	// unexpected faults
	faults []fault
	// reasons why it, or parts of it, were not possible
	reasons []string
	// impossible: all of it
	impossible bool
}

// fault of a test or subtest: what it did and, if it failed, its output.
type fault struct{ test, what, output string }

// on tells the fault for a kernel's name, with what is to be shown of the output.
func (f fault) on(kernel, output string) string {
	text := kernel + ": " + f.test + " " + f.what
	if output != "" {
		text += "\n" + output
	}
	return text
}

func (j judgement) wrong() bool { return len(j.faults) > 0 }

// judge holds an attempt at a test against what is expected of the kernel.
func (m *matrix) judge(kernel string, a *attempt, test string) judgement {
	var j judgement
	for _, name := range append(a.subtests(test), test) {
		reason := m.reason(kernel, name)
		bad := a.outcomes[name] != passed
		if lacking := a.lacking(name); lacking != "" {
			j.reasons = append(j.reasons, lacking)
			j.impossible = name == test
			continue
		}
		switch {
		case bad && reason != "":
			j.reasons = append(j.reasons, reason)
			j.impossible = name == test
		case bad && name == test && (j.wrong() || len(j.reasons) > 0):
			// It failed for its subtests.
		case bad:
			j.faults = append(j.faults, fault{name, word(a.outcomes[name]), a.output[name]})
		case reason != "":
			j.faults = append(j.faults, fault{name, "passes, but is listed as not possible there: " + reason, ""})
		}
	}
	return j
}

// lacking is what the diagnosis found the kernel to lack for a test; empty when the test
// was possible.
func (a *attempt) lacking(test string) string {
	if a.outcomes[test] != skipped {
		return ""
	}
	return testbed.Reason(a.output[test])
}

// settle judges a test by its first run, or by the second where only that is right,
// which makes the first one's faults flakes.
func (m *matrix) settle(r *result, test string) (j judgement, again bool) {
	first := m.judge(r.name, r.first, test)
	if !first.wrong() || r.again.outcomes[test] == absent {
		return first, false
	}
	second := m.judge(r.name, r.again, test)
	if second.wrong() {
		for _, f := range second.faults {
			f.what += " when run again"
			first.faults = append(first.faults, f)
		}
		return first, false
	}
	for _, f := range first.faults {
		m.flakes = append(m.flakes, f.on(r.name, lastLines(f.output)))
	}
	return second, true
}

// lastLines has a failure's message, which comes after what the test logged.
func lastLines(output string) string {
	const most = 12
	lines := strings.Split(strings.TrimRight(output, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// again is the pattern, as in go test -run, of the tests that are worth a second run:
// those with an unexpected failure. It is empty when there are none. Where
// the binary ended with another exit code than that of failed tests, none is: a
// time-out, a panic and a crash give 2.
func (m *matrix) again() string {
	var names []string
	for _, r := range m.results {
		for _, test := range r.first.order {
			binary, name, _ := strings.Cut(test, ": ")
			if !strings.Contains(name, "/") && r.codes[binary] == "1" && r.first.outcomes[test] == failed &&
				m.judge(r.name, r.first, test).wrong() {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "^(" + strings.Join(names, "|") + ")$"
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
