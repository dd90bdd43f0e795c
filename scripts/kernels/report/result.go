// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
)

// outcome is how a test ended.
type outcome int

const (
	absent  outcome = iota // not in this kernel's binaries
	endless                // began and never ended: it hung, or the kernel died
	passed
	failed
	skipped
)

// result is what one kernel said.
type result struct {
	name, release string
	// tests in the order they began, subtests included, each with its binary's name
	// in front where that is not the only one.
	order    []string
	outcomes map[string]outcome
	output   map[string]string
	// faults are ends of binaries that no test accounts for, and kernel warnings.
	faults []string
}

var verdict = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (\S+) \(`)

// parseResult reads what scripts/kernels/init makes of the tests' output.
func parseResult(name, text string) *result {
	r := &result{name: name, outcomes: map[string]outcome{}, output: map[string]string{}}
	binary, current, ended := "", "", true
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		fields := strings.Fields(line)
		switch {
		case len(fields) < 3 || !strings.HasPrefix(strings.TrimLeft(line, " "), "==="):
			if match := verdict.FindStringSubmatch(line); match != nil {
				r.outcomes[binary+match[2]] = map[string]outcome{"PASS": passed, "FAIL": failed, "SKIP": skipped}[match[1]]
			} else {
				r.output[current] += line + "\n"
			}
		case fields[1] == "kernel":
			r.release = strings.Join(fields[2:], " ")
		case fields[1] == "binary":
			binary, current, ended = fields[2]+": ", fields[2], false
		case fields[1] == "exit":
			ended = true
			if code := fields[len(fields)-1]; code != "0" && !r.accountsFor(binary) {
				r.faults = append(r.faults, strings.TrimSuffix(binary, ": ")+" ended with exit code "+code+"\n"+r.output[fields[2]])
			}
		case fields[1] == "dmesg":
			r.faults = append(r.faults, "kernel: "+strings.Join(fields[2:], " "))
		case fields[1] == "RUN":
			current = binary + fields[2]
			r.order = append(r.order, current)
			r.outcomes[current] = endless
		case fields[1] == "NAME" || fields[1] == "CONT":
			current = binary + fields[2]
		}
	}
	switch {
	case r.release == "":
		r.faults = append(r.faults, "the kernel did not come up")
	case !ended:
		r.faults = append(r.faults, "the kernel did not come to the end of "+strings.TrimSuffix(binary, ": "))
	}
	return r
}

// accountsFor: some test of the binary failed or did not end.
func (r *result) accountsFor(binary string) bool {
	for test, o := range r.outcomes {
		if strings.HasPrefix(test, binary) && (o == failed || o == endless) {
			return true
		}
	}
	return false
}
