// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// said is what a kernel says whose only binary has the given output.
func said(code, output string) string {
	return "=== kernel 6.1.0 x86_64\n=== binary probe internal/probe\n" + output +
		"=== exit probe " + code + "\n=== dmesg\n[    0.00] Linux version 6.1.0\n=== end\n"
}

func TestMatrix(t *testing.T) {
	const needs = "6.1 | probe: TestA | needs a newer kernel\n6.1 | probe: TestP/one | one needs more\n"
	tests := []struct {
		name, expected, said string
		ok                   bool
		want                 string
	}{
		{
			"all pass", "", said("0", "=== RUN   TestA\n--- PASS: TestA (0.00s)\n"), true,
			"6.1: 1 passed, 0 failed, 0 not possible; 6.1.0 x86_64",
		},
		{
			"a failure", "", said("1", "=== RUN   TestA\n    a_test.go:1: why\n--- FAIL: TestA (0.00s)\n"), false,
			"a_test.go:1: why\n\n\n6.1: 0 passed",
		},
		{
			"a skip that nobody expects", "", said("0", "=== RUN   TestA\n--- SKIP: TestA (0.00s)\n"), false,
			"TestA was skipped",
		},
		{
			"an expected failure", needs, said("1", "=== RUN   TestA\n--- FAIL: TestA (0.00s)\n=== RUN   TestB\n--- PASS: TestB (0.00s)\n"), true,
			"1  needs a newer kernel",
		},
		{
			"passes though it should not", needs, said("0", "=== RUN   TestA\n--- PASS: TestA (0.00s)\n"), false,
			"passes, but is listed",
		},
		{
			"an expected failure of a subtest", needs,
			said("1", "=== RUN   TestP\n=== RUN   TestP/one\n=== RUN   TestP/two\n--- FAIL: TestP (0.00s)\n    --- FAIL: TestP/one (0.00s)\n    --- PASS: TestP/two (0.00s)\n"),
			true, "pass (1)",
		},
		{
			"not possible there", "", said("0", "=== RUN   TestA\n    a_test.go:1: not possible here: live: refused\n"+
				"--- SKIP: TestA (0.00s)\n=== RUN   TestB\n--- PASS: TestB (0.00s)\n"), true,
			"6.1: 1 passed, 0 failed, 1 not possible; 6.1.0 x86_64",
		},
		{
			"a part is not possible there", "",
			said("0", "=== RUN   TestP\n=== RUN   TestP/one\n    p_test.go:1: not possible here: live: refused\n"+
				"=== RUN   TestP/two\n--- PASS: TestP (0.00s)\n    --- SKIP: TestP/one (0.00s)\n    --- PASS: TestP/two (0.00s)\n"),
			true, "pass (1)",
		},
		{
			"a test that only says so", "", said("0", "=== RUN   TestA\n    a_test.go:1: not possible here, I think\n--- SKIP: TestA (0.00s)\n"),
			false, "TestA was skipped",
		},
		{
			"another subtest fails too", needs,
			said("1", "=== RUN   TestP\n=== RUN   TestP/one\n=== RUN   TestP/two\n--- FAIL: TestP (0.00s)\n    --- FAIL: TestP/one (0.00s)\n    --- FAIL: TestP/two (0.00s)\n"),
			false, "TestP/two failed",
		},
		{"no boot", "", "", false, "did not come up"},
		{
			"no download", "", "=== fault can't be downloaded; tried a; b\n", false,
			"--- 6.1: can't be downloaded; tried a; b\n",
		},
		{
			"a hang", "", "=== kernel 6.1.0 x86_64\n=== binary probe internal/probe\n=== RUN   TestA\n=== fault not done after 9 s\n", false,
			"TestA did not end",
		},
		{
			"an end that no test explains", "", said("2", "goroutine leak\n=== RUN   TestA\n--- PASS: TestA (0.00s)\n"), false,
			"probe ended with exit code 2\ngoroutine leak\n",
		},
		{
			"a kernel warning", "",
			strings.Replace(said("0", "=== RUN   TestA\n--- PASS: TestA (0.00s)\n"), "=== end", "WARNING: CPU: 0\nwhere\n=== end", 1), false,
			"complains:\nWARNING: CPU: 0\nwhere\n",
		},
		{
			"a line that only looks like a mark", "", said("0", "=== RUN   TestA\n=== what\n--- FAIL: TestA (0.00s)\n"), false,
			"TestA failed\n=== what\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expected, err := parseExpected(test.expected)
			require.NoError(t, err)
			var out strings.Builder
			ok := newMatrix([]*result{parseResult("6.1", test.said, "")}, expected, nil).print(&out)
			assert.Equal(t, test.ok, ok, out.String())
			assert.Contains(t, out.String(), test.want)
		})
	}
}

// saidTwice is what a kernel says whose binary failed and was run again.
func saidTwice(first, code, second string) string {
	return strings.Replace(said("1", first), "=== dmesg", "=== again probe\n"+second+"=== exit probe "+code+"\n=== dmesg", 1)
}

func TestSecondRun(t *testing.T) {
	const (
		needs  = "6.1 | probe: TestP/one | one needs more\n"
		begun  = "=== RUN   TestP\n=== RUN   TestP/one\n    p_test.go:1: old\n=== RUN   TestP/two\n    p_test.go:2: late\n"
		failed = begun + "--- FAIL: TestP (0.00s)\n    --- FAIL: TestP/one (0.00s)\n    --- FAIL: TestP/two (0.00s)\n"
	)
	tests := []struct {
		name, second, code string
		ok                 bool
		cell, total        string
		want               []string
	}{
		{
			"passes", "=== RUN   TestP\n=== RUN   TestP/one\n=== RUN   TestP/two\n" +
				"--- FAIL: TestP (0.00s)\n    --- FAIL: TestP/one (0.00s)\n    --- PASS: TestP/two (0.00s)\n",
			"1", true, "pass (2nd,1)", "2 passed, 1 of them when run again, 0 failed, 0 not possible",
			[]string{"\nPassed only when run again (2nd), and how they failed at first:\n" +
				"  6.1: probe: TestP/two failed\n    p_test.go:2: late\n"},
		},
		{
			"fails twice", strings.Replace(failed, "late", "wrong", 1), "1", false, "FAIL (1)", "1 passed, 1 failed, 0 not possible",
			[]string{
				"--- 6.1: probe: TestP/two failed\n    p_test.go:2: late\n",
				"--- 6.1: probe: TestP/two failed when run again\n    p_test.go:2: wrong\n",
			},
		},
		{
			"hangs", begun, "2", false, "FAIL (1)", "1 passed, 1 failed, 0 not possible",
			[]string{"--- 6.1: probe: TestP/two did not end when run again"},
		},
		{
			"is skipped", "=== RUN   TestP\n--- SKIP: TestP (0.00s)\n", "0", false, "FAIL (1)", "1 passed, 1 failed, 0 not possible",
			[]string{"--- 6.1: probe: TestP was skipped when run again"},
		},
		{
			"does not run", "", "1", false, "FAIL (1)", "1 passed, 1 failed, 0 not possible",
			[]string{"--- 6.1: probe ended with exit code 1 when run again"},
		},
		{
			"passes, but the binary fails", "leak\n=== RUN   TestP\n--- PASS: TestP (0.00s)\n", "1", false,
			"pass (2nd)", "2 passed, 1 of them when run again, 0 failed, 0 not possible",
			[]string{"--- 6.1: probe ended with exit code 1 when run again\nleak\n"},
		},
	}
	expected, err := parseExpected(needs)
	require.NoError(t, err)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := parseResult("6.1", saidTwice("=== RUN   TestA\n--- PASS: TestA (0.00s)\n"+failed, test.code, test.second), "")
			var out strings.Builder
			assert.Equal(t, test.ok, newMatrix([]*result{r}, expected, nil).print(&out), out.String())
			assert.Regexp(t, `(?m)^  TestA +pass$`, out.String())
			assert.Regexp(t, `(?m)^  TestP +`+regexp.QuoteMeta(test.cell)+"$", out.String())
			assert.Contains(t, out.String(), "\n6.1: "+test.total+"; 6.1.0 x86_64\n")
			for _, want := range test.want {
				assert.Contains(t, out.String(), want)
			}
		})
	}
}

func TestAgain(t *testing.T) {
	const failed = "=== RUN   TestA\n--- FAIL: TestA (0.00s)\n=== RUN   TestB\n--- PASS: TestB (0.00s)\n" +
		"=== RUN   TestC\n=== RUN   TestC/one\n--- FAIL: TestC (0.00s)\n    --- FAIL: TestC/one (0.00s)\n" +
		"=== RUN   TestD\n--- SKIP: TestD (0.00s)\n"
	for _, test := range []struct{ name, expected, said, want string }{
		{"those that failed", "", said("1", failed), "^(TestA|TestC)$"},
		{"not those that are expected to", "6.1 | probe: TestA | why\n6.1 | probe: TestC/one | why", said("1", failed), ""},
		{"not as expected on another kernel", "5.10 | probe: TestA | why\n* | probe: TestC/one | why", said("1", failed), "^(TestA)$"},
		{"none after a time-out or a crash", "", said("2", failed+"=== RUN   TestE\npanic: test timed out\n"), ""},
		{"none where the kernel died", "", "=== binary probe internal/probe\n" + failed, ""},
		{"none if only the binary fails", "", said("1", "leak\n=== RUN   TestA\n--- PASS: TestA (0.00s)\n"), ""},
		{"none if all pass", "", said("0", "=== RUN   TestA\n--- PASS: TestA (0.00s)\n"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			expected, err := parseExpected(test.expected)
			require.NoError(t, err)
			assert.Equal(t, test.want, newMatrix([]*result{parseResult("6.1", test.said, "")}, expected, nil).again())
		})
	}
}

func TestLastLines(t *testing.T) {
	assert.Equal(t, "one\ntwo", lastLines("one\ntwo\n"))
	assert.Equal(t, strings.Repeat("x\n", 11)+"last", lastLines(strings.Repeat("x\n", 20)+"last\n"))
}

func TestExpectedMustBeComplete(t *testing.T) {
	_, err := parseExpected("6.1 TestA")
	assert.ErrorContains(t, err, "line 1")
}

func TestKernelThatDied(t *testing.T) {
	began := "=== kernel 6.1.0 x86_64\n=== binary probe internal/probe\n=== RUN   TestA\n"
	assert.Equal(t, []string{"the kernel did not come to the end of its tests; the end of its console:\nbooting"},
		parseResult("6.1", began, "booting\n").faults)
	assert.Equal(t, []string{
		"the kernel did not come to the end of its tests",
		"the kernel complains:\nBUG: soft lockup\nKernel panic",
	}, parseResult("6.1", began, "booting\nBUG: soft lockup\nKernel panic\n").faults)
}

func TestTableGroupsByFile(t *testing.T) {
	a := parseResult("5.10", said("0", "=== RUN   TestA\n--- PASS: TestA (0.00s)\n=== RUN   TestB\n--- PASS: TestB (0.00s)\n"), "")
	b := parseResult("6.1", said("1", "=== RUN   TestB\n--- FAIL: TestB (0.00s)\n"), "")
	expected, err := parseExpected("6.1 | probe: TestB | B is gone")
	require.NoError(t, err)
	var out strings.Builder
	files := map[string]string{"probe: TestA": "probe/a_test.go", "probe: TestB": "probe/b_test.go"}
	assert.True(t, newMatrix([]*result{a, b}, expected, files).print(&out), out.String())
	var table []string
	for line := range strings.Lines(out.String()) {
		table = append(table, strings.TrimSpace(line))
	}
	assert.Equal(t, []string{
		"", "5.10  6.1", "probe/a_test.go", "TestA          pass  -", "probe/b_test.go", "TestB          pass  n/a (1)",
		"", "n/a: not possible there; pass (n): except for a part that is not possible there:", "1  B is gone",
		"", "5.10: 2 passed, 0 failed, 0 not possible; 6.1.0 x86_64",
		"6.1: 0 passed, 0 failed, 1 not possible; 6.1.0 x86_64", "kernels: ok",
	}, table)
}

// What is listed has to be there, on the kernels that came to their end.
func TestStaleExpectation(t *testing.T) {
	expected, err := parseExpected("* | probe: TestGone | why\n5.10 | probe: TestOther | why")
	require.NoError(t, err)
	lives := parseResult("6.1", said("0", "=== RUN   TestA\n--- PASS: TestA (0.00s)\n"), "")
	died := parseResult("7.2", "", "")
	m := newMatrix([]*result{lives, died}, expected, nil)
	m.findStale()
	assert.Equal(t, []string{"6.1: probe: TestGone is listed as not possible there, but there is no such test"}, m.faults)
}

// A test that no kernel runs proves nothing.
func TestNeverPossible(t *testing.T) {
	lacks := func(tests ...string) (text string) {
		for _, test := range tests {
			text += "=== RUN   " + test + "\n    a_test.go:1: not possible here: live: refused\n--- SKIP: " + test + " (0.00s)\n"
		}
		return text
	}
	const runs = "=== RUN   TestB\n--- PASS: TestB (0.00s)\n=== RUN   TestC\n--- FAIL: TestC (0.00s)\n"
	expected, err := parseExpected("6.1 | probe: TestC | needs more")
	require.NoError(t, err)
	m := newMatrix([]*result{
		parseResult("5.10", said("0", lacks("TestA", "TestB", "TestC", "TestC/one")), ""),
		parseResult("6.1", said("0", lacks("TestA")+runs), ""),
	}, expected, nil)
	m.findNeverPossible()
	assert.Equal(t, []string{
		"probe: TestA was possible on no kernel", "probe: TestC was possible on no kernel", "probe: TestC/one was possible on no kernel",
	}, m.faults)
}

// A test that fails early at first comes to its subtests when run again.
func TestSubtestsOfTheSecondRunAreNotStale(t *testing.T) {
	expected, err := parseExpected("6.1 | probe: TestA/one | why")
	require.NoError(t, err)
	r := parseResult("6.1", saidTwice("=== RUN   TestA\n--- FAIL: TestA (0.00s)\n", "1",
		"=== RUN   TestA\n=== RUN   TestA/one\n--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/one (0.00s)\n"), "")
	m := newMatrix([]*result{r}, expected, nil)
	m.findStale()
	var out strings.Builder
	assert.True(t, m.print(&out), out.String())
	assert.Contains(t, out.String(), "pass (2nd,1)")
}

func TestTestFiles(t *testing.T) {
	files, err := testFiles([]*result{{packages: map[string]string{"report": "."}}})
	require.NoError(t, err)
	assert.Equal(t, "report_test.go", files["report: TestTestFiles"])
}

func TestExpectationCovers(t *testing.T) {
	e := expectation{kernels: []string{"5.10", "6.12-arm64"}}
	for kernel, covered := range map[string]bool{
		"5.10": true, "5.10-arm64": true, "6.12": false, "6.12-arm64": true, "here": false,
	} {
		assert.Equal(t, covered, e.covers(kernel), kernel)
	}
	assert.True(t, expectation{kernels: []string{"*"}}.covers("here"))
}
