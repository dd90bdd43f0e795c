// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Bounds of the lists.
const (
	maxListed    = 1 << 20
	maxListLabel = 200
)

// fingerprint is a JA3 sum, or a JA4 with its three parts.
var fingerprint = regexp.MustCompile(`^([0-9a-f]{32}|[tq][0-9sd]{2}[di][0-9]{4}[0-9a-z]{2}_[0-9a-f]{12}_[0-9a-f]{12})$`)

// readLists reads lines with a fingerprint and, after white space or a comma, what it is a sign
// of. Empty lines and those that begin with # are skipped.
func readLists(files []string) (map[string]string, error) {
	all := map[string]string{}
	for i, name := range files {
		if err := readList(name, all); err != nil {
			return nil, fmt.Errorf("rules::tls_fingerprint::files[%d]: %w", i, err)
		}
	}
	return all, nil
}

func readList(name string, to map[string]string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		end := strings.IndexAny(line, " \t,")
		if end < 0 {
			end = len(line)
		}
		print, label := line[:end], strings.Trim(line[end:], " \t,")
		switch {
		case !fingerprint.MatchString(print):
			return fmt.Errorf("%s line %d: neither a JA3 nor a JA4 fingerprint", name, number)
		case len(to) >= maxListed:
			return fmt.Errorf("%s line %d: more than %d fingerprints", name, number, maxListed)
		}
		to[print] = label[:min(len(label), maxListLabel)]
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}
