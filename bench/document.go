// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

//go:embed performance.md.tmpl
var page string

// writeDocument writes the Markdown file. A folder of the same name beside it has the plots,
// and the published results, which newer ones replace one by one.
func writeDocument(path string, newer *results) error {
	folder := strings.TrimSuffix(path, filepath.Ext(path))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make a folder for plots: %w", err)
	}
	r, err := loadResults(filepath.Join(folder, "results.json"))
	if err != nil {
		return err
	}
	r.update(newer)
	if err := r.save(); err != nil {
		return err
	}
	for _, p := range plots {
		data, ok := r.Plots[p.id]
		if !ok {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, p.id+".svg"), []byte(p.svg(data.Lines)), 0o644); err != nil {
			return fmt.Errorf("write a plot: %w", err)
		}
	}
	text, err := r.document(filepath.Base(folder))
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	return nil
}

// document fills in the page; plots are in that folder beside it.
func (r *results) document(folder string) (string, error) {
	t, err := template.New("").Funcs(template.FuncMap{"short": r.short, "value": r.value, "note": r.note, "add": func(a, b int) int { return a + b }}).Parse(page)
	if err != nil {
		return "", fmt.Errorf("read the page: %w", err)
	}
	var text strings.Builder
	err = t.Execute(&text, map[string]any{
		"Machines": r.machines(), "Targets": r.rows(false), "Others": r.rows(true),
		"Plots": r.drawn(folder), "Pairs": pairs, "LoadTime": loadTime,
	})
	if err != nil {
		return "", fmt.Errorf("fill in the page: %w", err)
	}
	return text.String(), nil
}

// short reports whether one of the figures falls short of its target.
func (r *results) short(ids ...string) bool {
	return slices.ContainsFunc(ids, func(id string) bool {
		return strings.HasPrefix(figureOf(id).verdict(r.Figures[id]), fallsShort)
	})
}

// value is a figure's, for sentences.
func (r *results) value(id string) string {
	one, ok := r.Figures[id]
	if !ok || one.Missing != "" {
		return "(not measured)"
	}
	return figureOf(id).write(one.Value)
}

// note is the note on a figure, in parentheses; empty if there is none.
func (r *results) note(id string) string {
	if note := r.Figures[id].Note; note != "" {
		return " (" + note + ")"
	}
	return ""
}

// rows are lines of a Markdown table, for figures with a target or for the others.
func (r *results) rows(informs bool) []string {
	var rows []string
	machines := r.machines()
	for _, f := range figures {
		one, ok := r.Figures[f.id]
		if !ok {
			one = result{Missing: "not measured yet"}
		}
		if f.informs != informs {
			continue
		}
		cells := row(f, one)
		made := ""
		if one.Command != "" {
			made = code(one.Command) + ", " + one.When.UTC().Format("2006-01-02")
			if len(machines) > 1 {
				made += fmt.Sprintf(", on %d", 1+slices.Index(machines, one.Machine))
			}
		}
		if informs { // neither target nor verdict
			cells = []string{cells[0], cells[1], cells[4], cells[5]}
		}
		rows = append(rows, "| "+strings.Join(append(cells, made), " | ")+" |")
	}
	return rows
}

// drawn are the existing plots, as Markdown.
func (r *results) drawn(folder string) []string {
	var drawn []string
	for _, p := range plots {
		if _, ok := r.Plots[p.id]; ok {
			drawn = append(drawn, fmt.Sprintf("![%s](%s/%s.svg)", p.title, folder, p.id))
		}
	}
	return drawn
}

func code(text string) string { return "`" + text + "`" }
