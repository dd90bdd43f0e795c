// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// console is what a kernel says whose only binary has the given output.
func console(code, output string) string {
	return "=== kernel 6.1.0 x86_64\n=== binary probe\n" + output + "=== exit probe " + code + "\n"
}

func TestMatrix(t *testing.T) {
	const needs = "6.1 | probe: TestA | needs a newer kernel\n6.1 | probe: TestP/one | one needs more\n"
	tests := []struct {
		name, expected, console string
		ok                      bool
		want                    string
	}{
		{
			"all pass", "", console("0", "=== RUN   TestA\n--- PASS: TestA (0.00s)\n"), true,
			"1 passed, 0 failed, 0 not possible",
		},
		{
			"a failure", "", console("1", "=== RUN   TestA\n    a_test.go:1: why\n--- FAIL: TestA (0.00s)\n"), false,
			"a_test.go:1: why",
		},
		{
			"a skip that nobody expects", "", console("0", "=== RUN   TestA\n--- SKIP: TestA (0.00s)\n"), false,
			"TestA was skipped",
		},
		{
			"an expected failure", needs, console("1", "=== RUN   TestA\n--- FAIL: TestA (0.00s)\n=== RUN   TestB\n--- PASS: TestB (0.00s)\n"), true,
			"1: needs a newer kernel",
		},
		{
			"passes though it should not", needs, console("0", "=== RUN   TestA\n--- PASS: TestA (0.00s)\n"), false,
			"passes, but is listed",
		},
		{
			"an expected failure of a subtest", needs,
			console("1", "=== RUN   TestP\n=== RUN   TestP/one\n=== RUN   TestP/two\n--- FAIL: TestP (0.00s)\n    --- FAIL: TestP/one (0.00s)\n    --- PASS: TestP/two (0.00s)\n"),
			true, "pass (1)",
		},
		{
			"another subtest fails too", needs,
			console("1", "=== RUN   TestP\n=== RUN   TestP/one\n=== RUN   TestP/two\n--- FAIL: TestP (0.00s)\n    --- FAIL: TestP/one (0.00s)\n    --- FAIL: TestP/two (0.00s)\n"),
			false, "TestP/two failed",
		},
		{"no boot", "", "", false, "did not come up"},
		{
			"a hang", "", "=== kernel 6.1.0 x86_64\n=== binary probe\n=== RUN   TestA\n", false,
			"TestA did not end",
		},
		{
			"an end that no test explains", "", console("2", "=== RUN   TestA\n--- PASS: TestA (0.00s)\n"), false,
			"ended with exit code 2",
		},
		{
			"a kernel warning", "", console("0", "=== RUN   TestA\n--- PASS: TestA (0.00s)\n") + "=== dmesg WARNING: CPU: 0\n", false,
			"kernel: WARNING: CPU: 0",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expected, err := parseExpected(test.expected)
			require.NoError(t, err)
			var out strings.Builder
			ok := newMatrix([]*result{parseResult("6.1", test.console)}, expected).print(&out)
			assert.Equal(t, test.ok, ok, out.String())
			assert.Contains(t, out.String(), test.want)
		})
	}
}

func TestExpectedMustBeComplete(t *testing.T) {
	_, err := parseExpected("6.1 TestA")
	assert.ErrorContains(t, err, "line 1")
}
