// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

var update = flag.Bool("update", false, "write the golden files and the table of docs/kernels.md")

// golden reads the diagnosis of every known kernel, in the order of releases.
func golden(t *testing.T) []*probe.Diagnosis {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var all []*probe.Diagnosis
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		d := new(probe.Diagnosis)
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(d), file)
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *probe.Diagnosis) int {
		return slices.Compare(release(a.Kernel), release(b.Kernel))
	})
	return all
}

func release(kernel string) []int {
	var major, minor int
	_, _ = fmt.Sscanf(kernel, "%d.%d", &major, &minor)
	return []int{major, minor, len(kernel)}
}

func TestTextOfEachKernel(t *testing.T) {
	for _, d := range golden(t) {
		t.Run(d.Kernel, func(t *testing.T) {
			var got bytes.Buffer
			require.NoError(t, WriteText(&got, d))
			file := filepath.Join("testdata", d.Kernel+".txt")
			if *update {
				require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, string(want), got.String(), "run the test with -update when this is intended")
		})
	}
}

func TestTextOfMemory(t *testing.T) {
	var got bytes.Buffer
	require.NoError(t, WriteText(&got, &probe.Diagnosis{
		Kernel: "6.1", Machine: "x86_64", BTF: "no such file", Bytes: 3 << 20,
		Capabilities: []probe.CapabilityDiagnosis{{Name: "CAP_BPF", Held: true, Recommended: true, Gives: "all"}, {Name: "CAP_SYS_ADMIN", Gives: "more"}},
		Maps:         []probe.MapMemory{{Name: "connections", Entries: 10, Bytes: 2 << 20}, {Name: "records", Entries: 4096, Bytes: 1 << 20}},
		Features: []probe.FeatureDiagnosis{
			{Name: "drop", Gives: "drops", Wanted: true, Impossible: "too old"},
			{Name: "live", Gives: "now"},
			{Name: "accept", Gives: "who", Wanted: true, Ways: []probe.WayDiagnosis{
				{Hooks: []string{"fentry/a", "fentry/b"}, Error: "refused"}, {Hooks: []string{"kprobe/a", "kprobe/b"}},
			}},
		},
	}))
	assert.Equal(t, `Linux 6.1 x86_64
BTF: no such file
capabilities: CAP_BPF
  without CAP_SYS_ADMIN: more

FEATURE  HOOK          GIVES
drop     -             drops
live     - (off)       now
accept   kprobe/{a,b}  who

Refused here:
  drop: too old
  accept: fentry/{a,b}: refused

Kernel memory of the maps: 3.00 MiB
  connections                 10 entries    2.00 MiB
  records                   4096 entries    1.00 MiB

Verdict: what is asked for works here, without: drops
`, got.String())
}

// TestTextOfOneCause: features that are refused for one cause share a line.
func TestTextOfOneCause(t *testing.T) {
	refused := func(hook string) []probe.WayDiagnosis {
		return []probe.WayDiagnosis{{Hooks: []string{hook}, Error: "load " + hook + ": CAP_PERFMON is missing"}}
	}
	d := &probe.Diagnosis{Features: []probe.FeatureDiagnosis{
		{Name: "connection", Gives: "connections", Wanted: true, Ways: refused("tp_btf/inet_sock_set_state")},
		{Name: "missed_end", Gives: "ends", Wanted: true, Ways: refused("tp_btf/tcp_destroy_sock")},
		{Name: "drop", Gives: "drops", Wanted: true, Ways: refused("raw_tp/kfree_skb")},
	}}
	var got bytes.Buffer
	require.NoError(t, WriteText(&got, d))
	assert.Contains(t, got.String(), `
Refused here:
  connection, missed_end: tp_btf: CAP_PERFMON is missing
  drop: load raw_tp/kfree_skb: CAP_PERFMON is missing
`)
}

func TestVerdict(t *testing.T) {
	works := []probe.WayDiagnosis{{Hooks: []string{"tp_btf/a"}}}
	refused := []probe.WayDiagnosis{{Hooks: []string{"tp_btf/b"}, Error: "refused"}}
	connections := probe.FeatureDiagnosis{Gives: "connections", Wanted: true, Ways: works}
	tests := []struct {
		want string
		d    probe.Diagnosis
	}{
		{"everything works here", probe.Diagnosis{Features: []probe.FeatureDiagnosis{connections, {Gives: "unwanted", Ways: refused}}}},
		{
			"what is asked for works here, without: drops",
			probe.Diagnosis{Features: []probe.FeatureDiagnosis{connections, {Gives: "drops", Wanted: true, Ways: refused}}},
		},
		{"this host does not support what is asked for: no BTF here", probe.Diagnosis{Error: "no BTF\nhere"}},
	}
	for _, test := range tests {
		assert.Equal(t, test.want, Verdict(&test.d))
	}
}

const (
	tableBegin = "<!-- support table: go test ./internal/diagnosis -update -->\n"
	tableEnd   = "<!-- end of the support table -->\n"
)

// TestSupportTable holds docs/kernels.md to the golden files.
func TestSupportTable(t *testing.T) {
	const file = "../../docs/kernels.md"
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(raw), tableBegin)
	require.True(t, found, tableBegin)
	table, after, found := strings.Cut(rest, tableEnd)
	require.True(t, found, tableEnd)
	want := supportTable(t, golden(t))
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(before+tableBegin+want+tableEnd+after), 0o644))
		return
	}
	assert.Equal(t, want, table, "run the test with -update when this is intended")
}

func supportTable(t *testing.T, kernels []*probe.Diagnosis) string {
	t.Helper()
	var out strings.Builder
	out.WriteString("| Feature |")
	for _, d := range kernels {
		out.WriteString(" " + strings.NewReplacer("-cloud-amd64", "", "-cloud-arm64", " arm64",
			"-fc-no-map-iterators", " without kprobes and iterators of maps", "-fc", " without kprobes").Replace(d.Kernel) + " |")
	}
	out.WriteString("\n|---|" + strings.Repeat("---|", len(kernels)) + "\n")
	var rows []string
	cells := make(map[string][]string) // by row, then kernel
	for column, d := range kernels {
		require.Len(t, d.Features, len(kernels[0].Features), d.Kernel)
		for i := range d.Features {
			f := &d.Features[i]
			require.Equal(t, kernels[0].Features[i].Name, f.Name, d.Kernel)
			if cells[f.Gives] == nil {
				rows = append(rows, f.Gives)
				cells[f.Gives] = make([]string, len(kernels))
			}
			kind := "-"
			if used := f.Used(); used != nil {
				kind, _, _ = strings.Cut(used.Hooks[0], "/")
			}
			// Several features can give one thing together.
			if cell := &cells[f.Gives][column]; !strings.Contains(*cell, kind) {
				*cell = strings.TrimPrefix(*cell+", "+kind, ", ")
			}
		}
	}
	for _, row := range rows {
		out.WriteString("| " + row + " | " + strings.Join(cells[row], " | ") + " |\n")
	}
	return out.String()
}
