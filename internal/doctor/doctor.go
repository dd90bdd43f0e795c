// SPDX-License-Identifier: Apache-2.0

// Package doctor tells people and programs what a host can give.
package doctor

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// WriteJSON writes the diagnosis for programs.
func WriteJSON(w io.Writer, d *probe.Diagnosis) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(d); err != nil {
		return fmt.Errorf("write the diagnosis: %w", err)
	}
	return nil
}

// WriteText writes the diagnosis for people: the features with the hook that each
// would use, then those that would go without, with what was refused and why, then
// memory.
func WriteText(w io.Writer, d *probe.Diagnosis) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "Linux %s %s\n", d.Kernel, d.Machine)
	fmt.Fprintf(&out, "BTF: %s\n", d.BTF)
	writeCapabilities(&out, d)
	if d.Error != "" {
		fmt.Fprintf(&out, "\nNothing works here: %s\n", d.Error)
	}
	writeFeatures(&out, d)
	writeRefusals(&out, d)
	writeMaps(&out, d)
	if _, err := io.WriteString(w, clean.Text(out.String())); err != nil {
		return fmt.Errorf("write the diagnosis: %w", err)
	}
	return nil
}

// writeCapabilities names those that are held, and explains those that are not.
func writeCapabilities(out *bytes.Buffer, d *probe.Diagnosis) {
	var held []string
	for _, c := range d.Capabilities {
		if c.Held {
			held = append(held, c.Name)
		}
	}
	if len(d.Capabilities) > 0 {
		fmt.Fprintf(out, "capabilities: %s\n", cmp.Or(strings.Join(held, " "), "none"))
	}
	for _, c := range d.Capabilities {
		if !c.Held {
			fmt.Fprintf(out, "  without %s: %s\n", c.Name, c.Gives)
		}
	}
}

func writeFeatures(out *bytes.Buffer, d *probe.Diagnosis) {
	if len(d.Features) == 0 {
		return
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FEATURE\tHOOK\tGIVES")
	for i := range d.Features {
		f := &d.Features[i]
		hook := "-"
		if used := f.Used(); used != nil {
			hook = Short(used.Hooks)
		}
		if !f.Wanted {
			hook += " (off)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.Name, hook, f.Gives)
	}
	_ = table.Flush() // a buffer takes everything
}

// writeRefusals lists what does not work here, also where something else does.
func writeRefusals(out *bytes.Buffer, d *probe.Diagnosis) {
	title := "\nRefused here:\n"
	for i := range d.Features {
		f := &d.Features[i]
		if f.Impossible != "" {
			fmt.Fprintf(out, "%s  %s: %s\n", title, f.Name, f.Impossible)
			title = ""
		}
		for _, w := range f.Ways {
			if w.Works() || !f.Wanted {
				continue
			}
			fmt.Fprintf(out, "%s  %s: %s\n", title, f.Name, named(&w))
			title = ""
		}
	}
}

// named is the error with the way's hooks, unless it names one itself.
func named(w *probe.WayDiagnosis) string {
	for _, hook := range w.Hooks {
		if strings.Contains(w.Error, hook) {
			return w.Error
		}
	}
	return Short(w.Hooks) + ": " + w.Error
}

func writeMaps(out *bytes.Buffer, d *probe.Diagnosis) {
	if len(d.Maps) == 0 {
		return
	}
	fmt.Fprintf(out, "\nKernel memory of the maps: %s\n", mebibytes(d.Bytes))
	for _, m := range d.Maps {
		fmt.Fprintf(out, "  %-20s  %8d entries  %10s\n", m.Name, m.Entries, mebibytes(m.Bytes))
	}
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20)) }

// Short writes the names of hooks that attach in the same way as one:
// fentry/{a,b}.
func Short(hooks []string) string {
	if len(hooks) == 1 {
		return hooks[0]
	}
	kind := path.Dir(hooks[0])
	names := make([]string, len(hooks))
	for i, hook := range hooks {
		if path.Dir(hook) != kind {
			return strings.Join(hooks, ", ")
		}
		names[i] = path.Base(hook)
	}
	return kind + "/{" + strings.Join(slices.Compact(names), ",") + "}"
}
