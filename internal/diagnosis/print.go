// SPDX-License-Identifier: Apache-2.0

// Package diagnosis prints what a host supports: as text for people, as JSON for programs.
package diagnosis

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

// WriteText writes the diagnosis for people: the features with their hooks, the refusals
// with their causes, the memory, and a verdict in the last line.
func WriteText(w io.Writer, d *probe.Diagnosis) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "Linux %s %s\n", d.Kernel, d.Machine)
	fmt.Fprintf(&out, "BTF: %s\n", d.BTF)
	writeCapabilities(&out, d)
	writeFeatures(&out, d)
	writeRefusals(&out, d)
	writeMaps(&out, d)
	fmt.Fprintf(&out, "\nVerdict: %s\n", Verdict(d))
	if _, err := io.WriteString(w, clean.Text(out.String())); err != nil {
		return fmt.Errorf("write the diagnosis: %w", err)
	}
	return nil
}

// writeCapabilities names the capabilities of this process and explains missing ones.
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

// Verdict says in one line whether the host supports what is asked for.
func Verdict(d *probe.Diagnosis) string {
	if d.Error != "" {
		return "this host does not support what is asked for: " + strings.Join(strings.Fields(d.Error), " ")
	}
	var without []string
	for i := range d.Features {
		f := &d.Features[i]
		if f.Wanted && f.Used() == nil && !slices.Contains(without, f.Gives) {
			without = append(without, f.Gives)
		}
	}
	if len(without) > 0 {
		return "what is asked for works here, without: " + strings.Join(without, "; ")
	}
	return "everything works here"
}

// refusals are features whose hooks are refused for one cause.
type refusals struct {
	features []string
	// text is the cause. It has the hook's name if there is only one feature.
	text string
}

// writeRefusals lists refused hooks, one line for each cause, even if another way to
// their feature works.
func writeRefusals(out *bytes.Buffer, d *probe.Diagnosis) {
	var causes []string
	all := make(map[string]*refusals)
	note := func(feature, cause, text string) {
		r := all[cause]
		if r == nil {
			r = &refusals{text: text}
			all[cause] = r
			causes = append(causes, cause)
		}
		if !slices.Contains(r.features, feature) {
			r.features = append(r.features, feature)
		}
	}
	for i := range d.Features {
		f := &d.Features[i]
		if f.Impossible != "" {
			note(f.Name, f.Impossible, f.Impossible)
		}
		for _, w := range f.Ways {
			if !w.Works() && f.Wanted {
				note(f.Name, w.Reason(), named(&w))
			}
		}
	}
	if len(causes) > 0 {
		fmt.Fprint(out, "\nRefused here:\n")
	}
	for _, cause := range causes {
		r := all[cause]
		if len(r.features) > 1 {
			r.text = cause
		}
		fmt.Fprintf(out, "  %s: %s\n", strings.Join(r.features, ", "), r.text)
	}
}

// named adds the way's hooks to the error, unless it names one itself.
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

// Short writes the names of hooks of the same kind as one:
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
