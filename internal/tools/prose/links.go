// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	target    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code      = regexp.MustCompile("`([^`\n]+)`")
	heading   = regexp.MustCompile(`(?m)^#+\s+(.*)$`)
	notAnchor = regexp.MustCompile(`[^\pL\pN _-]`)
)

// places returns the faults of the links and of the paths that a document names. A path
// is a span of code that begins with a folder of the project.
func places(folder, file, text string, folders []string) []string {
	var faults []string
	for i, line := range strings.Split(blankCode(blank(text)), "\n") {
		fault := func(format string, args ...any) {
			faults = append(faults, fmt.Sprintf("%s:%d: ", file, i+1)+fmt.Sprintf(format, args...))
		}
		for _, found := range target.FindAllStringSubmatch(line, -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			name, anchor, _ := strings.Cut(found[1], "#")
			at := filepath.Join(folder, filepath.Dir(file), name)
			if name == "" {
				at = filepath.Join(folder, file)
			}
			if _, err := os.Stat(at); err != nil {
				fault("there is no %s", found[1])
			} else if anchor != "" && !slices.Contains(anchors(at), anchor) {
				fault("no heading #%s in %s", anchor, filepath.Base(at))
			}
		}
		for _, found := range code.FindAllStringSubmatch(line, -1) {
			first, _, ok := strings.Cut(found[1], "/")
			if !ok || !slices.Contains(folders, first) || strings.ContainsAny(found[1], "*?[]{} …<>") {
				continue
			}
			if _, err := os.Stat(filepath.Join(folder, found[1])); err != nil {
				fault("there is no %s", found[1])
			}
		}
	}
	return faults
}

// projectFolders returns the folders of the project, hidden ones left out. What is built
// is no part of it.
func projectFolders(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("list the project: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "dist" {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// blankCode removes blocks of code and keeps their lines.
func blankCode(text string) string {
	lines := strings.Split(text, "\n")
	fenced := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence || fenced {
			lines[i] = ""
		}
		fenced = fenced != fence
	}
	return strings.Join(lines, "\n")
}

// anchors returns the names of a document's headings, as GitHub makes them.
func anchors(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var names []string
	for _, found := range heading.FindAllStringSubmatch(blankCode(string(text)), -1) {
		name := notAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(found[1])), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}
