// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const long = "one two three four five six seven eight nine ten " +
	"one two three four five six seven eight nine ten " +
	"one two three four five six seven eight nine ten"

func check(t *testing.T, name, text string) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	found, err := run(&out, folder, []string{name})
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(out.String(), "\n"); lines != found {
		t.Errorf("%d findings in %d lines", found, lines)
	}
	return out.String()
}

func TestMarkdown(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"thirty words":            {long + ".", ""},
		"one more":                {"More " + long + ".", "a.md:1: 31 words, at most 30: More one two three four five six seven …\n"},
		"two sentences":           {long + ". " + strings.ToUpper(long[:1]) + long[1:] + ".", ""},
		"over lines":              {"# Head\n\nMore\n" + long + ".\n", "a.md:3: 31 words, at most 30: More one two three four five six seven …\n"},
		"a list has items":        {"- " + long + "\n- " + long + "\n", ""},
		"a table has cells":       {"| a | b |\n|---|---|\n| " + long + " | " + long + " |\n", ""},
		"a long cell":             {"| a |\n|---|\n| more " + long + " |\n", "a.md:3: 31 words, at most 30: more one two three four five six seven …\n"},
		"code is one word":        {"`" + long + "` and " + long[4:] + ".", "a.md:1: 31 words, at most 30: Code and two three four five six seven …\n"},
		"a separator in code":     {"| `a|b` | anew |\n", "a.md:1: \"anew\": write instead: again\n"},
		"a link is its text":      {"[" + long + "](https://example.org/a-b).", ""},
		"no code":                 {"```\nanew\n```\n\n    anew\n", ""},
		"no comment":              {"<!-- anew\nanew -->\nas ever\n", "a.md:3: \"as ever\": write instead: still, as before\n"},
		"in a list, later":        {"- a\n\n  anew\n", "a.md:3: \"anew\": write instead: again\n"},
		"a clause as a subject":   {"Who has one is asked.", "a.md:1: \"Who has one is asked.\": write instead: begin with the subject\n"},
		"a question":              {"Who has one?", ""},
		"an abbreviation goes on": {"As in no. " + long[4:] + ".", "a.md:1: 32 words, at most 30: As in no. two three four five six …\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := check(t, "a.md", test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestGo(t *testing.T) {
	got := check(t, "a.go", `package a

func f(l logger) error {
	l.Info("packets are selected in vain")
	l.Named("in vain").Warn("fine", field("in vain"))
	l.Error(
		"interfaces are " + "looked at")
	_ = other.New("in vain")
	if failed {
		return errors.New("attach anew")
	}
	return fmt.Errorf("in vain, by %s", name)
}
`)
	want := []string{
		`a.go:4: "in vain": write instead: has no effect, fails`,
		`a.go:7: "looked at": write instead: observe, read, watch`,
		`a.go:10: "anew": write instead: again`,
		`a.go:12: "in vain": write instead: has no effect, fails`,
	}
	if lines := strings.Split(strings.TrimSpace(got), "\n"); !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

func TestYAML(t *testing.T) {
	got := check(t, "a.yaml", "a:\n  description: Told of.\n  other: anew\nb:\n  - description: >-\n      as\n      ever\n")
	want := "a.yaml:2: \"Told of\": write instead: reported, logged, known by\n" +
		"a.yaml:5: \"as ever\": write instead: still, as before\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPlaces(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("docs/other.md", "# What's `a.b`, then\n")
	write("internal/a/a.go", "")
	write("docs/a.md", "# Here\n\n"+
		"[a](other.md), [b](other.md#whats-ab-then), [c](#here), [d](../internal/a), [e](https://example.org/x).\n"+
		"`internal/a`, `internal/*/b`, `other/b`, `internal`.\n"+
		"\n```\n[f](missing.md) `internal/b`\n```\n\n"+
		"[g](missing.md), [h](other.md#here), [i](#there), `internal/b`.\n")
	var out bytes.Buffer
	found, err := run(&out, folder, []string{"docs/a.md"})
	if err != nil {
		t.Fatal(err)
	}
	want := "docs/a.md:10: there is no missing.md\n" +
		"docs/a.md:10: no heading #here in other.md\n" +
		"docs/a.md:10: no heading #there in a.md\n" +
		"docs/a.md:10: there is no internal/b\n"
	if out.String() != want || found != 4 {
		t.Errorf("got %d: %q, want %q", found, out.String(), want)
	}
}

func TestFaults(t *testing.T) {
	for name, files := range map[string][]string{
		"none": nil, "missing": {"missing.md"}, "another kind": {"prose_test.txt"},
	} {
		if _, err := run(&bytes.Buffer{}, t.TempDir(), files); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
