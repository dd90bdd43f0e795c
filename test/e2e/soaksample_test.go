// SPDX-License-Identifier: Apache-2.0

//go:build privileged && soak

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// figure is something that must not grow: the median of the last third of the samples
// may exceed that of the second third by a tenth and the slack.
type figure struct {
	name, unit string
	// perUnit divides what is shown.
	perUnit float64
	slack   float64
}

// figures are in the order of sampled. The slack is what one third can differ from
// the next by chance: garbage, a namespace that happens to be there, the way of
// attaching, or series of the listeners that come and go.
var figures = [...]figure{
	{"resident set", "MiB", 1 << 20, 16 << 20},
	{"descriptors", "", 1, 24},
	{"threads", "", 1, 4},
	{"goroutines", "", 1, 10},
	{"kernel maps", "MiB", 1 << 20, 1 << 20},
	{"programs", "", 1, 6},
	{"links", "", 1, 12},
	{"series", "", 1, 500},
}

// sampled is the figures at one time.
type sampled [len(figures)]float64

// sample looks at the collector from outside.
func (s *soak) sample() {
	kernel := s.agent.kernelUse()
	maps.Copy(s.seen, kernel.objects)
	series := 0.0
	for _, p := range s.agent.in.scrape(s.t, s.agent.telemetry) {
		if p.name == "otelcol_ebpf_tcp_series" {
			series = p.value
		}
	}
	process := s.agent.procStatus()
	s.series = append(s.series, sampled{
		process["VmRSS"] * 1024, float64(kernel.descriptors), process["Threads"],
		s.agent.goroutines(s.pprof), float64(kernel.mapBytes),
		kernel.count("program"), kernel.count("link"), series,
	})
}

// procStatus has the numbers of /proc/PID/status.
func (c *collector) procStatus() map[string]float64 {
	c.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	require.NoError(c.t, err)
	values := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if fields := strings.Fields(rest); len(fields) > 0 {
			if n, err := strconv.ParseFloat(fields[0], 64); err == nil {
				values[name] = n
			}
		}
	}
	return values
}

var goroutineTotal = regexp.MustCompile(`^goroutine profile: total (\d+)`)

func (c *collector) goroutines(port int) float64 {
	c.t.Helper()
	text := c.in.run(c.t, "curl", "-sS", "--max-time", "5",
		fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/goroutine?debug=1", port))
	match := goroutineTotal.FindStringSubmatch(text)
	require.NotNil(c.t, match, "goroutine profile: %.200s", text)
	n, err := strconv.ParseFloat(match[1], 64)
	require.NoError(c.t, err)
	return n
}

// kernelUse is what the collector's descriptors say that the kernel holds for it.
type kernelUse struct {
	descriptors int
	mapBytes    int
	objects     map[object]bool
}

func (k *kernelUse) count(kind string) (n float64) {
	for o := range k.objects {
		if o.kind == kind {
			n++
		}
	}
	return n
}

func (c *collector) kernelUse() kernelUse {
	c.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fdinfo", c.cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	require.NoError(c.t, err)
	use := kernelUse{descriptors: len(entries), objects: map[object]bool{}}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		use.add(fdInfo(string(text)))
	}
	return use
}

func fdInfo(text string) map[string]int {
	info := map[string]int{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
			info[name] = n
		}
	}
	return info
}

// add takes in one descriptor. That of a link names its program, too.
func (k *kernelUse) add(info map[string]int) {
	for _, kind := range []string{"link", "prog", "map"} {
		id, ok := info[kind+"_id"]
		if !ok {
			continue
		}
		o := object{strings.Replace(kind, "prog", "program", 1), uint32(id)}
		if o.kind == "map" && !k.objects[o] {
			k.mapBytes += info["memlock"]
		}
		k.objects[o] = true
		return
	}
}

// tell prints a line of progress.
func (s *soak) tell() {
	last := s.series[len(s.series)-1]
	var line strings.Builder
	fmt.Fprintf(&line, "soak  %8s of %s:", time.Since(s.begin).Round(time.Second), s.duration)
	for i, f := range figures {
		fmt.Fprintf(&line, " %s %.0f%s,", f.name, last[i]/f.perUnit, f.unit)
	}
	fmt.Printf("%s %d connections taken\n", &line, s.out.taken()["connection"])
}

// judge prints all figures by thirds of the run, and fails those that grow.
func (s *soak) judge() {
	third := len(s.series) / 3
	require.Positive(s.t, third, "samples")
	fmt.Printf("soak  %d samples; median, greatest in brackets\n", len(s.series))
	fmt.Printf("soak  %-14s %20s %20s %20s %10s\n", "", "first third", "second third", "last third", "allowed")
	for i, f := range figures {
		var columns [3]string
		var medians [3]float64
		for part := range 3 {
			values := make([]float64, 0, third)
			for _, one := range s.series[part*third : (part+1)*third] {
				values = append(values, one[i]/f.perUnit)
			}
			slices.Sort(values)
			medians[part] = values[len(values)/2]
			columns[part] = fmt.Sprintf("%.1f (%.1f)", medians[part], values[len(values)-1])
		}
		allowed := medians[1]*1.1 + f.slack/f.perUnit
		fmt.Printf("soak  %-14s %20s %20s %20s %10.1f %s\n", f.name, columns[0], columns[1], columns[2], allowed, f.unit)
		assert.LessOrEqual(s.t, medians[2], allowed, "%s grow", f.name)
	}
}

func decodeWork(t *testing.T, line []byte) work {
	t.Helper()
	var w work
	require.NoError(t, json.Unmarshal(line, &w), "%s", line)
	return w
}
