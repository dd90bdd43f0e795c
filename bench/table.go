// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// printTable writes the figures that the named measurements made.
func printTable(w io.Writer, r *results, measurements map[string]bool) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "figure\tmeasured\ttarget\t\tquartiles\tseen")
	for _, f := range figures {
		one, ok := r.Figures[f.id]
		if ok && measurements[one.Measurement] {
			fmt.Fprintln(table, strings.Join(row(f, one), "\t"))
		}
	}
	_ = table.Flush()
}

// row is a figure's line: what it is, measured, target, verdict, spread, note.
func row(f figure, r result) []string {
	name := f.title()
	target := "≤ " + f.write(f.target)
	if f.informs {
		target = ""
	}
	if r.Missing != "" {
		return []string{name, "", target, f.verdict(r), "", firstLine(r.Missing)}
	}
	spread := fmt.Sprintf("%s–%s, n=%d", f.write(r.Low), f.write(r.High), r.Samples)
	return []string{name, f.write(r.Value), target, f.verdict(r), spread, r.Note}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
