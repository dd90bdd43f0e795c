// SPDX-License-Identifier: Apache-2.0

// Command declare turns a component's metadata.yaml into what its code and its configuration
// schema would otherwise repeat: names, units, descriptions, kinds and toggles.
//
// Usage: declare DIRECTORY
//
// It reads DIRECTORY/metadata.yaml and the package internal/metadata that mdatagen made of it.
// It writes DIRECTORY/internal/declared/generated.go and the part of
// DIRECTORY/config.schema.yaml below the line that names this command.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: declare DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "declare:", err)
		os.Exit(1)
	}
}

func run(directory string) error {
	text, err := os.ReadFile(filepath.Join(directory, "metadata.yaml"))
	if err != nil {
		return fmt.Errorf("read the declaration: %w", err)
	}
	declared, err := parse(text)
	if err != nil {
		return fmt.Errorf("metadata.yaml: %w", err)
	}
	fields, err := readFields(filepath.Join(directory, "internal", "metadata", "generated_config.go"))
	if err != nil {
		return fmt.Errorf("read what mdatagen made: %w", err)
	}
	source, err := code(declared, fields)
	if err != nil {
		return err
	}
	file := filepath.Join(directory, "internal", "declared", "generated.go")
	if err := os.WriteFile(file, source, 0o644); err != nil {
		return fmt.Errorf("write the code: %w", err)
	}
	return updateSchema(filepath.Join(directory, "config.schema.yaml"), declared)
}
