// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const top = "../../.."

// allTests are the names of all tests, each with its binary's in front, as run.sh names it.
func allTests(t *testing.T) []string {
	t.Helper()
	var all []string
	require.NoError(t, filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		folder, _ := filepath.Rel(top, filepath.Dir(path))
		binary := strings.ReplaceAll(strings.TrimPrefix(filepath.ToSlash(folder), "internal/"), "/", "-")
		for _, match := range declaration.FindAllSubmatch(text, -1) {
			all = append(all, binary+": "+string(match[1]))
		}
		return err
	}))
	return all
}

// TestScriptsNameTestsThatExist: a test that was renamed or moved must not run, or be
// skipped, unnoticed.
func TestScriptsNameTestsThatExist(t *testing.T) {
	all := allTests(t)
	for _, script := range []string{"scripts/kernels/run.sh", "scripts/test.sh"} {
		text, err := os.ReadFile(filepath.Join(top, script))
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			}
			for _, name := range testNames(line) {
				pattern := regexp.MustCompile(": " + name + "$")
				assert.True(t, slices.ContainsFunc(all, pattern.MatchString), "%s names %s: there is no such test", script, name)
			}
		}
	}
	text, err := os.ReadFile("../expected.txt")
	require.NoError(t, err)
	expected, err := parseExpected(string(text))
	require.NoError(t, err)
	for _, e := range expected {
		test, _, _ := strings.Cut(e.test, "/")
		assert.Contains(t, all, test, "expected.txt")
	}
}

var groups = regexp.MustCompile(`Test\(([^)]*)\)|\bTest\w+(?:\.\*)?`)

// testNames are the names in a line: TestA, TestA.* or Test(A|B).
func testNames(line string) []string {
	var names []string
	for _, match := range groups.FindAllStringSubmatch(line, -1) {
		if match[1] == "" {
			names = append(names, match[0])
			continue
		}
		for name := range strings.SplitSeq(match[1], "|") {
			names = append(names, "Test"+name)
		}
	}
	return names
}

func TestTestNames(t *testing.T) {
	assert.Equal(t, []string{"TestA.*", "TestB", "TestC", "TestD"}, testNames("skipped='TestA.*|TestB' -run '^Test(C|D)$'"))
}
