// SPDX-License-Identifier: Apache-2.0

// Report prints the kernel matrix: one row a test, one column a kernel, from what
// the kernels under test wrote to their second serial port. It exits with 1 when a
// test ended otherwise than expected, and shows that test's output.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: report EXPECTED NAME=RESULT …")
		os.Exit(2)
	}
	ok, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(expectedFile string, arguments []string) (bool, error) {
	text, err := os.ReadFile(expectedFile)
	if err != nil {
		return false, fmt.Errorf("read what is expected: %w", err)
	}
	expected, err := parseExpected(string(text))
	if err != nil {
		return false, fmt.Errorf("%s: %w", expectedFile, err)
	}
	var results []*result
	for _, argument := range arguments {
		name, path, ok := strings.Cut(argument, "=")
		if !ok {
			return false, errors.New("not NAME=RESULT: " + argument)
		}
		// A kernel that never came up has no file: its column says so.
		output, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, fmt.Errorf("read the result of %s: %w", name, err)
		}
		results = append(results, parseResult(name, string(output)))
	}
	return newMatrix(results, expected).print(os.Stdout), nil
}
