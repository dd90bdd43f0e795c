// SPDX-License-Identifier: Apache-2.0

// Command prose checks the English of documents, log lines, errors and descriptions.
//
// Usage: prose [-C folder] file…
//
// It reports sentences that are too long, and phrases that have a plainer form. In
// Markdown it reads paragraphs, list items and table cells; in Go the messages of log
// calls and errors; in YAML the values of description. Links and paths in Markdown have
// to lead somewhere.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// passage is a piece of text that is judged by itself, and the line where it begins.
type passage struct {
	line int
	text string
}

func main() {
	folder := flag.String("C", ".", "the folder that files are relative to")
	flag.Parse()
	found, err := run(os.Stdout, *folder, flag.Args())
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "prose:", err)
		os.Exit(2)
	case found > 0:
		os.Exit(1)
	}
}

// run checks the files, prints one line per finding and returns how many there were.
func run(out io.Writer, folder string, files []string) (int, error) {
	if len(files) == 0 {
		return 0, errors.New("no files given")
	}
	folders, err := projectFolders(folder)
	if err != nil {
		return 0, err
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			return found, fmt.Errorf("read a document: %w", err)
		}
		passages, err := read(file, text)
		if err != nil {
			return found, fmt.Errorf("read %s: %w", file, err)
		}
		if filepath.Ext(file) == ".md" {
			for _, fault := range places(folder, file, string(text), folders) {
				fmt.Fprintln(out, fault)
				found++
			}
		}
		for _, p := range passages {
			for _, fault := range judge(p.text) {
				fmt.Fprintf(out, "%s:%d: %s\n", file, p.line, fault)
				found++
			}
		}
	}
	return found, nil
}

// read splits a file into passages by its kind.
func read(file string, text []byte) ([]passage, error) {
	switch filepath.Ext(file) {
	case ".md":
		return markdown(string(text)), nil
	case ".go":
		return messages(file, text)
	case ".yaml":
		return descriptions(text)
	default:
		return nil, errors.New("only Markdown, Go and YAML can be read")
	}
}
