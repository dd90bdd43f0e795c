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

// attempt is one run of the binaries' tests.
type attempt struct {
	// tests in the order they began, subtests included, each with its binary's name
	// in front.
	order    []string
	outcomes map[string]outcome
	output   map[string]string
}

func newAttempt() *attempt {
	return &attempt{outcomes: map[string]outcome{}, output: map[string]string{}}
}

// result is what one kernel said.
type result struct {
	name, release string
	// first has all tests, again those that failed and were run a second time.
	first, again *attempt
	// packages has the folder of each binary's source.
	packages map[string]string
	// codes has the exit code of each binary's first run.
	codes map[string]string
	// faults are what no test accounts for: ends of binaries and of the machine,
	// and the kernel's complaints.
	faults []string
}

var verdict = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (\S+) \(`)

// parser follows a kernel's output line by line.
type parser struct {
	*result
	// attempt that the lines belong to
	attempt *attempt
	// binary that runs, and the test that the next lines belong to
	binary, current string
	inLog, ended    bool
	log             []string
}

// parseResult reads what scripts/kernels/init makes of the tests' output. The console
// has the kernel's last words where it did not come to the end.
func parseResult(name, text, console string) *result {
	p := &parser{result: &result{
		name: name, first: newAttempt(), again: newAttempt(), packages: map[string]string{}, codes: map[string]string{},
	}}
	p.attempt = p.first
	for line := range strings.Lines(text) {
		p.line(strings.TrimRight(line, "\r\n"))
	}
	if !p.ended {
		p.died(console)
	}
	if complaint := complaintIn(p.log); complaint != "" {
		p.faults = append(p.faults, "the kernel complains:\n"+complaint)
	}
	return p.result
}

func (p *parser) line(line string) {
	mark, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "=== ")
	switch {
	case ok && p.mark(strings.Fields(mark)):
	case p.inLog:
		p.log = append(p.log, line)
	default:
		if match := verdict.FindStringSubmatch(line); match != nil {
			p.attempt.outcomes[p.binary+": "+match[2]] = map[string]outcome{"PASS": passed, "FAIL": failed, "SKIP": skipped}[match[1]]
			return
		}
		p.attempt.output[p.current] += line + "\n"
	}
}

// mark takes in a line that begins with "===", from init or from package testing;
// false if it is none of theirs.
func (p *parser) mark(fields []string) bool {
	switch {
	case len(fields) == 1 && fields[0] == "dmesg":
		p.inLog = true
	case len(fields) == 1 && fields[0] == "end":
		p.ended = true
	case len(fields) < 2:
		return false
	case fields[0] == "kernel":
		p.release = strings.Join(fields[1:], " ")
	case fields[0] == "binary" && len(fields) == 3:
		p.attempt, p.binary, p.current = p.first, fields[1], fields[1]
		p.packages[p.binary] = fields[2]
	case fields[0] == "again" && len(fields) == 2:
		p.attempt, p.binary, p.current = p.again, fields[1], fields[1]
	case fields[0] == "exit" && len(fields) == 3:
		p.exit(fields[2])
	case fields[0] == "fault":
		p.faults = append(p.faults, strings.Join(fields[1:], " "))
	case fields[0] == "RUN":
		p.current = p.binary + ": " + fields[1]
		p.attempt.order = append(p.attempt.order, p.current)
		p.attempt.outcomes[p.current] = endless
	case fields[0] == "NAME" || fields[0] == "CONT":
		p.current = p.binary + ": " + fields[1]
	default:
		return fields[0] == "PAUSE"
	}
	return true
}

// exit of the binary, which is a fault where no test explains it.
func (p *parser) exit(code string) {
	when := " when run again"
	if p.attempt == p.first {
		p.codes[p.binary] = code
		when = ""
	}
	if code != "0" && !p.attempt.accountsFor(p.binary) {
		p.faults = append(p.faults, p.binary+" ended with exit code "+code+when+"\n"+p.attempt.output[p.binary])
	}
}

// died: the kernel did not come to the end of init. Its last words are shown where
// they hold no complaint, which is shown anyway.
func (p *parser) died(console string) {
	what := "the kernel did not come up"
	if p.release != "" {
		what = "the kernel did not come to the end of its tests"
	}
	lines := strings.Split(strings.TrimRight(console, "\r\n"), "\n")
	p.log = append(p.log, lines...)
	switch {
	case console == "" && len(p.faults) > 0:
		return // it never started, and a fault says why
	case console != "" && complaintIn(lines) == "":
		what += "; the end of its console:\n" + strings.Join(lines[max(0, len(lines)-20):], "\n")
	}
	p.faults = append(p.faults, what)
}

// accountsFor: some test of the binary failed or did not end.
func (a *attempt) accountsFor(binary string) bool {
	for test, o := range a.outcomes {
		if strings.HasPrefix(test, binary+": ") && (o == failed || o == endless) {
			return true
		}
	}
	return false
}

// subtests of a test, in the order they ran.
func (a *attempt) subtests(test string) []string {
	var names []string
	for _, name := range a.order {
		if strings.HasPrefix(name, test+"/") {
			names = append(names, name)
		}
	}
	return names
}

// complaint is how the kernel reports that something is wrong with itself.
var complaint = regexp.MustCompile(`cut here|\bBUG:|\bWARNING:|\bOops\b|Kernel panic|Unable to handle kernel|` +
	`general protection fault|detected stall|self-detected stall|soft lockup|blocked for more than|refcount_t:|` +
	`unregister_netdevice: waiting`)

// complaintIn returns the log from the first complaint on, at most some lines of it.
func complaintIn(log []string) string {
	const context = 30
	for i, line := range log {
		if complaint.MatchString(line) {
			return strings.Join(log[i:min(len(log), i+context)], "\n")
		}
	}
	return ""
}
