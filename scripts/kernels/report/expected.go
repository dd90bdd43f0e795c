// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
)

// expectation: a test that can't pass on some kernels, and why.
type expectation struct {
	kernels []string
	test    string
	reason  string
}

// parseExpected reads lines of kernels (joined by commas, * for all), the test's
// name with its binary's in front, "probe: TestX/subtest", and the reason. A kernel's
// version stands for every architecture.
func parseExpected(text string) ([]expectation, error) {
	var all []expectation
	for number, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.SplitN(line, "|", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: not KERNELS | TEST | REASON", number+1)
		}
		all = append(all, expectation{
			kernels: strings.Split(strings.TrimSpace(fields[0]), ","),
			test:    strings.TrimSpace(fields[1]),
			reason:  strings.TrimSpace(fields[2]),
		})
	}
	return all, nil
}

func (e expectation) covers(kernel string) bool {
	version, _, _ := strings.Cut(kernel, "-")
	return slices.Contains(e.kernels, version) || slices.Contains(e.kernels, kernel) || slices.Contains(e.kernels, "*")
}
