// SPDX-License-Identifier: Apache-2.0

//go:build privileged && soak

package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
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
	kernel, err := lab.KernelUseOf(s.agent.PID())
	require.NoError(s.t, err)
	maps.Copy(s.seen, kernel.Objects)
	series := 0.0
	for _, m := range s.agent.metrics() {
		if m.Name == "otelcol_ebpf_tcp_series" {
			series = m.Value
		}
	}
	process, err := lab.Status(s.agent.PID())
	require.NoError(s.t, err)
	s.series = append(s.series, sampled{
		firstNumber(s.t, process["VmRSS"]) * 1024, float64(kernel.Descriptors), firstNumber(s.t, process["Threads"]),
		s.agent.goroutines(s.pprof), float64(kernel.MapBytes),
		float64(kernel.Count("program")), float64(kernel.Count("link")), series,
	})
}

// firstNumber is that of a text such as "123 kB".
func firstNumber(t *testing.T, text string) float64 {
	t.Helper()
	number, _, _ := strings.Cut(text, " ")
	n, err := strconv.ParseFloat(number, 64)
	require.NoError(t, err)
	return n
}

var goroutineTotal = regexp.MustCompile(`^goroutine profile: total (\d+)`)

func (c *collector) goroutines(port int) float64 {
	c.t.Helper()
	text := namespace{c.In}.run(c.t, "curl", "-sS", "--max-time", "5",
		fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/goroutine?debug=1", port))
	match := goroutineTotal.FindStringSubmatch(text)
	require.NotNil(c.t, match, "goroutine profile: %.200s", text)
	n, err := strconv.ParseFloat(match[1], 64)
	require.NoError(c.t, err)
	return n
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
