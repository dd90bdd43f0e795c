// SPDX-License-Identifier: Apache-2.0

// Package testbed is what the tests that load programs share.
package testbed

import (
	"os"
	"strings"
	"testing"
)

// ExcludedVariable lists hooks, separated by commas, that tests do without, as if the
// kernel refused them: "iter/bpf_map_elem,fentry/*".
const ExcludedVariable = "EBPF_TCP_TEST_EXCLUDE_HOOKS"

// ExcludedHooks are those that the environment lists.
func ExcludedHooks() []string {
	return strings.FieldsFunc(os.Getenv(ExcludedVariable), func(r rune) bool { return r == ',' || r == ' ' })
}

// NotPossible begins the reason of a skipped test whose hooks this host lacks. Any
// other reason fails the run.
const NotPossible = "not possible here: "

// Host is what the diagnosis of this host found.
type Host interface {
	// Lacks is why the host does not give something; empty when it does.
	Lacks(need string) (reason string, err error)
}

// Need ends the test as not possible here when the host lacks something that the test
// needs.
func Need(t testing.TB, host Host, needs ...string) {
	t.Helper()
	for _, need := range needs {
		reason, err := host.Lacks(need)
		if err != nil {
			t.Fatalf("what the test needs: %v", err)
		}
		if reason != "" {
			t.Skip(NotPossible + need + ": " + reason)
		}
	}
}

// Reason finds why a skipped test was not possible in its output; empty when it was
// skipped for another reason.
func Reason(output string) string {
	for line := range strings.Lines(output) {
		// After the name of the file and the number of the line.
		if _, reason, found := strings.Cut(line, ": "+NotPossible); found {
			return strings.TrimSpace(reason)
		}
	}
	return ""
}
