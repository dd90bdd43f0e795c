// SPDX-License-Identifier: Apache-2.0

// Command configdoc writes the keys of a configuration schema into a Markdown page,
// between the two comments that mark their place.
//
// Usage: configdoc SCHEMA PAGE COMPONENT
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	begin = "<!-- keys: "
	end   = "<!-- end of keys -->\n"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: configdoc SCHEMA PAGE COMPONENT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "configdoc:", err)
		os.Exit(1)
	}
}

func run(schemaFile, pageFile, component string) error {
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return fmt.Errorf("parse the schema: %w", err)
	}
	if len(root.Content) != 1 {
		return errors.New("the schema is empty")
	}
	keys, err := read(root.Content[0])
	if err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	page, err := os.ReadFile(pageFile)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	filled, err := fill(string(page), example(component, keys)+"\n"+table(keys))
	if err != nil {
		return err
	}
	if err := os.WriteFile(pageFile, []byte(filled), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// fill replaces what is between the marks.
func fill(page, keys string) (string, error) {
	before, rest, found := strings.Cut(page, begin)
	if !found {
		return "", fmt.Errorf("the page has no %q", begin)
	}
	mark, rest, _ := strings.Cut(rest, "\n")
	_, after, found := strings.Cut(rest, end)
	if !found {
		return "", fmt.Errorf("the page has no %q", strings.TrimSpace(end))
	}
	return before + begin + mark + "\n\n" + keys + "\n" + end + after, nil
}
