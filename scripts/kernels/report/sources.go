// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

var declaration = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testFiles finds the file in which each test of the results is written, by the name
// that the results give it.
func testFiles(results []*result) (map[string]string, error) {
	files := map[string]string{}
	for _, r := range results {
		for binary, folder := range r.packages {
			sources, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
			if err != nil {
				return nil, fmt.Errorf("find the tests of %s: %w", folder, err)
			}
			for _, source := range sources {
				text, err := os.ReadFile(source)
				if err != nil {
					return nil, fmt.Errorf("read the names of tests: %w", err)
				}
				for _, match := range declaration.FindAllSubmatch(text, -1) {
					files[binary+": "+string(match[1])] = source
				}
			}
		}
	}
	return files, nil
}
