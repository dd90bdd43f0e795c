// SPDX-License-Identifier: Apache-2.0

// Report prints the kernel matrix: one row a test, one column a kernel, from what
// the kernels under test wrote to their ports (RESULT, and RESULT.console). It exits
// with 1 when a test ended otherwise than expected, when a kernel did not come to its
// end or complained about itself, and shows why.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: report [-some] EXPECTED NAME=RESULT …")
		flag.PrintDefaults()
	}
	some := flag.Bool("some", false, "not all tests ran: what is expected of others is no fault")
	flag.Parse()
	if flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	ok, err := run(flag.Arg(0), flag.Args()[1:], !*some)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(expectedFile string, arguments []string, complete bool) (bool, error) {
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
		output, err := read(path)
		if err != nil {
			return false, fmt.Errorf("read the result of %s: %w", name, err)
		}
		console, err := read(path + ".console")
		if err != nil {
			return false, fmt.Errorf("read the console of %s: %w", name, err)
		}
		results = append(results, parseResult(name, output, console))
	}
	files, err := testFiles(results)
	if err != nil {
		return false, err
	}
	m := newMatrix(results, expected, files)
	if complete {
		m.findStale()
	}
	return m.print(os.Stdout), nil
}

// read: a kernel that never started has no file, and its column says so.
func read(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return string(text), nil
}
