// SPDX-License-Identifier: Apache-2.0

// Report prints the kernel matrix: one row a test, one column a kernel, from what
// the kernels under test wrote to their ports (RESULT, and RESULT.console). It exits
// with 1 when a test ended otherwise than expected, when a kernel did not come to its
// end or complained about itself, and shows why. A test that failed and passed when
// run again has passed, and is listed with its first failure. One that ends as not
// possible, because its kernel lacks a hook, needs no expectation; with -every it must
// have been possible on some kernel.
//
// With -again it prints what init is to run a second time.
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
		fmt.Fprintln(os.Stderr, "usage: report [-some] [-every] [-again] EXPECTED NAME=RESULT …")
		flag.PrintDefaults()
	}
	some := flag.Bool("some", false, "not all tests ran: what is expected of others is no fault")
	every := flag.Bool("every", false, "all kernels ran: a test that was possible on none is a fault")
	again := flag.Bool("again", false, "print the pattern, as in go test -run, of the tests to run a second time, if any")
	flag.Parse()
	if flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	m, err := load(flag.Arg(0), flag.Args()[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
	if *again {
		fmt.Println(m.again())
		return
	}
	if !*some {
		m.findStale()
	}
	if *every {
		m.findNeverPossible()
	}
	if !m.print(os.Stdout) {
		os.Exit(1)
	}
}

// load takes in what is expected and NAME=RESULT for each kernel.
func load(expectedFile string, arguments []string) (*matrix, error) {
	text, err := os.ReadFile(expectedFile)
	if err != nil {
		return nil, fmt.Errorf("read what is expected: %w", err)
	}
	expected, err := parseExpected(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expectedFile, err)
	}
	var results []*result
	for _, argument := range arguments {
		name, path, ok := strings.Cut(argument, "=")
		if !ok {
			return nil, errors.New("not NAME=RESULT: " + argument)
		}
		output, err := read(path)
		if err != nil {
			return nil, fmt.Errorf("read the result of %s: %w", name, err)
		}
		console, err := read(path + ".console")
		if err != nil {
			return nil, fmt.Errorf("read the console of %s: %w", name, err)
		}
		results = append(results, parseResult(name, output, console))
	}
	files, err := testFiles(results)
	if err != nil {
		return nil, err
	}
	return newMatrix(results, expected, files), nil
}

// read: a kernel that never started has no file, and its column says so.
func read(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return string(text), nil
}
