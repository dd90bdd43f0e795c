// SPDX-License-Identifier: Apache-2.0

package check

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// maxInterfaceName is IFNAMSIZ without the terminating zero.
const maxInterfaceName = 15

// Interfaces checks names and patterns of interfaces.
func Interfaces(f *Faults, key string, patterns []string) []string {
	for i, pattern := range patterns {
		if err := checkPattern(pattern); err != nil {
			f.Add(at(key, i), "%q: %w", pattern, err)
		}
	}
	return patterns
}

func isPattern(text string) bool { return strings.ContainsAny(text, `*?[\`) }

func checkPattern(pattern string) error {
	if pattern == "" {
		return errors.New("an interface name is missing")
	}
	if strings.ContainsAny(pattern, "/ \t\n") {
		return errors.New("interface names hold neither slash nor space")
	}
	if isPattern(pattern) {
		_, err := path.Match(pattern, "")
		return err
	}
	if len(pattern) > maxInterfaceName {
		return fmt.Errorf("interface names have at most %d bytes", maxInterfaceName)
	}
	return nil
}

// InterfaceSelection refuses included entries that are excluded as well, and an exclusion that
// leaves nothing.
func InterfaceSelection(f *Faults, include, exclude []string) {
	left := 0
	for i, item := range include {
		by := slices.IndexFunc(exclude, func(pattern string) bool { return leavesNothingOf(pattern, item) })
		if by < 0 {
			left++
			continue
		}
		if exclude[by] != "*" {
			f.Add(at("interfaces::include", i), "%q selects nothing: interfaces::exclude has %q", item, exclude[by])
		}
	}
	if len(include) > 0 && left == 0 && slices.Contains(exclude, "*") {
		f.Add("interfaces::exclude", "leaves no interface; tc::mode: off does without packets")
	}
}

// leavesNothingOf reports whether a pattern matches everything that an item can match.
func leavesNothingOf(pattern, item string) bool {
	if pattern == "*" || pattern == item {
		return true
	}
	matches, err := path.Match(pattern, item)
	return err == nil && matches && !isPattern(item)
}

// Hooks checks names and patterns of hooks.
func Hooks(f *Faults, key string, patterns []string) []string {
	for i, pattern := range patterns {
		if err := probe.CheckHookPattern(pattern); err != nil {
			f.Add(at(key, i), "%q: %w", pattern, err)
		}
	}
	return patterns
}

// Namespaces checks paths and patterns of network namespaces.
func Namespaces(f *Faults, key string, patterns []string) []string {
	for i, pattern := range patterns {
		if err := checkNamespaces(pattern); err != nil {
			f.Add(at(key, i), "%q: %w", pattern, err)
		}
	}
	return patterns
}

func checkNamespaces(pattern string) error {
	if !path.IsAbs(pattern) {
		return errors.New("not an absolute path such as /run/netns/*")
	}
	if clean := path.Clean(pattern); clean != pattern {
		return fmt.Errorf("not the shortest form of the path, which is %s", clean)
	}
	_, err := path.Match(pattern, "")
	return err
}
