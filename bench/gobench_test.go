// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// read returns the text of all files that match.
func read(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		all.Write(text)
	}
	return all.String()
}

// TestBenchmarksExist: each benchmark that a measurement runs is in its package, which the
// Makefile builds.
func TestBenchmarksExist(t *testing.T) {
	built := regexp.MustCompile(`(?m)^BENCHMARKED := (.*)$`).FindStringSubmatch(read(t, "../Makefile"))
	require.NotNil(t, built)
	calls := regexp.MustCompile(`folder: "([^"]+)", pattern: "\^(\w+)`).FindAllStringSubmatch(read(t, "*.go"), -1)
	require.Greater(t, len(calls), 3)
	for _, call := range calls {
		folder, benchmark := call[1], call[2]
		assert.Contains(t, strings.Fields(built[1]), "./"+folder, "BENCHMARKED of the Makefile")
		assert.Contains(t, read(t, filepath.Join("..", folder, "*_test.go")), "func "+benchmark+"(", folder)
	}
}
