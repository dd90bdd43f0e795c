// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/literal"
)

// readLiterals reads lines with a name and, after white space, a string. A string in double quotes
// has the escapes of Go. Empty lines and those that begin with # are skipped. It returns nil for no
// file.
func readLiterals(files []string) (*literal.Set, error) {
	if len(files) == 0 {
		return nil, nil
	}
	const key = "rules::literal_signature::files"
	var all []literal.Literal
	for i, name := range files {
		of, err := readLiteralFile(name)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", key, i, err)
		}
		all = append(all, of...)
	}
	set, err := literal.New(all)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return set, nil
}

func readLiteralFile(name string) ([]literal.Literal, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []literal.Literal
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		one, err := parseLiteral(line)
		if err != nil {
			return nil, fmt.Errorf("%s line %d: %w", name, number, err)
		}
		if all = append(all, one); len(all) > literal.MaxLiterals {
			return nil, fmt.Errorf("%s line %d: %w", name, number, literal.ErrLarge)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return all, nil
}

func parseLiteral(line string) (literal.Literal, error) {
	end := strings.IndexAny(line, " \t")
	if end < 0 {
		return literal.Literal{}, fmt.Errorf("%q has no string after its name", line)
	}
	one := literal.Literal{Name: line[:end], Text: strings.TrimLeft(line[end:], " \t")}
	if one.Text[0] == '"' {
		text, err := strconv.Unquote(one.Text)
		if err != nil {
			return literal.Literal{}, fmt.Errorf("%s: not a string in double quotes: %w", one.Name, err)
		}
		one.Text = text
	}
	if one.Text == "" || len(one.Text) > literal.MaxLength {
		return literal.Literal{}, fmt.Errorf("%s: a string of %d bytes, not of 1 to %d", one.Name, len(one.Text), literal.MaxLength)
	}
	return one, nil
}
