// SPDX-License-Identifier: Apache-2.0

// Testsummary reads what `go test -json` prints, shows failures in full and ends
// with one line of figures. Tests that were not possible here, because the host lacks
// a hook, are listed by reason. Any other skipped test is named with its reason and
// fails the run, unless the reason says that sample captures were not given.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

// captures is the variable that a test may ask for before it skips.
const captures = "EBPF_TCP_PCAPS"

// event is one line of test2json.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// summary collects the outcome of a run.
type summary struct {
	out                             io.Writer
	output                          map[string][]string
	passed, failed, skipped, broken int
	packages                        int
	// impossible are tests of those skipped, by why they were not possible.
	impossible map[string][]string
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json … | testsummary NAME")
		os.Exit(2)
	}
	start := time.Now()
	s := newSummary(os.Stdout)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "read test events:", err)
		os.Exit(1)
	}
	s.close(os.Args[1], time.Since(start))
	if s.failed > 0 || s.broken > 0 || s.passed == 0 {
		os.Exit(1)
	}
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: map[string][]string{}, impossible: map[string][]string{}}
}

// close lists what was not possible, and ends with the line of figures.
func (s *summary) close(name string, took time.Duration) {
	note, impossible := "", 0
	for _, reason := range slices.Sorted(maps.Keys(s.impossible)) {
		fmt.Fprintf(s.out, "%s%s\n", testbed.NotPossible, reason)
		for _, test := range s.impossible[reason] {
			impossible++
			fmt.Fprintf(s.out, "  %s\n", test)
		}
	}
	if impossible > 0 {
		note = fmt.Sprintf(" (%d not possible here)", impossible)
	}
	fmt.Fprintf(s.out, "%s: %d passed, %d failed, %d skipped%s, in %d packages and %s\n", name,
		s.passed, s.failed, s.skipped, note, s.packages, took.Round(time.Second))
}

// read takes in events until the end; lines that are none are shown as they are.
func (s *summary) read(from io.Reader) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(s.out, lines.Text())
			continue
		}
		s.add(e)
	}
	return lines.Err()
}

func (s *summary) add(e event) {
	key := e.Package + "\x00" + e.Test
	switch e.Action {
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "build-fail":
		s.broken++
	case "pass", "fail", "skip":
		s.finish(e, strings.Join(s.output[key], ""))
		delete(s.output, key)
	}
}

// finish books one test, or one package where the test has no name.
func (s *summary) finish(e event, output string) {
	if e.Test == "" {
		s.finishPackage(e, output)
		return
	}
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		fmt.Fprintf(s.out, "FAIL %s %s\n%s", e.Package, e.Test, output)
	case "skip":
		s.skipped++
		if reason := testbed.Reason(output); reason != "" {
			s.impossible[reason] = append(s.impossible[reason], path.Base(e.Package)+": "+e.Test)
			return
		}
		fmt.Fprintf(s.out, "SKIP %s %s\n%s", e.Package, e.Test, output)
		if !strings.Contains(output, captures) {
			s.broken++
		}
	}
}

func (s *summary) finishPackage(e event, output string) {
	if e.Action == "skip" { // a package without tests
		return
	}
	s.packages++
	if e.Action == "fail" {
		s.broken++
		fmt.Fprintf(s.out, "FAIL %s\n%s", e.Package, output)
		return
	}
	fmt.Fprintf(s.out, "ok   %s %.1fs\n", e.Package, e.Elapsed)
}
