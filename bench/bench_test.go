// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
)

func TestQuantile(t *testing.T) {
	assert.Zero(t, sample{}.median())
	assert.Equal(t, 7.0, sample{7}.quantile(0.25))
	assert.Equal(t, 2.0, sample{3, 1, 2}.median())
	assert.Equal(t, 2.5, sample{4, 1, 3, 2}.median())
	assert.Equal(t, 1.75, sample{4, 1, 3, 2}.quantile(0.25))
	assert.Equal(t, 4.0, sample{4, 1, 3, 2}.quantile(1))
}

func TestRatiosLeaveOutZeroDivisors(t *testing.T) {
	assert.Equal(t, sample{2, 3}, ratios(sample{4, 1, 9}, sample{2, 0, 3}))
}

func TestParseBenchmarks(t *testing.T) {
	found := parseBenchmarks(`goos: linux
BenchmarkTC/SYN,_half-open_tracked-2   	      20	   1000 ns/op	         1.250 x-bare
BenchmarkTC/SYN,_half-open_tracked-2   	      20	   1200 ns/op	         1.350 x-bare
BenchmarkConnection             	    2000	     64000 ns/op	      3042 kernel-ns/op	   12 allocs/op
PASS
`)
	s, err := found.figure(fromBenchmark{benchmark: "BenchmarkTC/SYN,_half-open_tracked", metric: "x-bare"})
	require.NoError(t, err)
	assert.Equal(t, sample{1.25, 1.35}, s)
	s, err = found.figure(fromBenchmark{benchmark: "BenchmarkConnection", metric: "ns/op", minus: "kernel-ns/op"})
	require.NoError(t, err)
	assert.Equal(t, sample{60958}, s)
	_, err = found.metric("BenchmarkConnection", "x-bare")
	assert.EqualError(t, err, "BenchmarkConnection does not report x-bare")
}

// TestCountCloses: other events do not count, nor do closes of another server, even if the
// client has the address of ours.
func TestCountCloses(t *testing.T) {
	const server = "10.213.0.1"
	logs := plog.NewLogs()
	for range 2 {
		scope := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
		for _, one := range []struct{ event, client, server string }{
			{"tcp.server.connection.close", "10.213.0.2", server},
			{"tcp.server.connection.close", "127.0.0.1", server},
			{"tcp.server.connection.close", server, "127.0.0.1"},
			{"tcp.server.connection.close", "127.0.0.1", server + "1"},
			{"tcp.server.connection.failed", "10.213.0.2", server},
		} {
			record := scope.LogRecords().AppendEmpty()
			record.SetEventName(one.event)
			record.Body().SetStr(one.event + " " + one.client + ":4000 -> " + one.server + ":8080")
			record.Attributes().PutStr("client.address", one.client)
			record.Attributes().PutStr("server.address", one.server)
		}
	}
	request, err := plogotlp.NewExportRequestFromLogs(logs).MarshalProto()
	require.NoError(t, err)
	n, err := countCloses(request, server)
	require.NoError(t, err)
	assert.EqualValues(t, 4, n)
	_, err = countCloses(request[:len(request)-1], server)
	assert.Error(t, err)
}

func TestVerdict(t *testing.T) {
	noisy := result{Value: -20, Low: -40, High: -10}
	assert.Equal(t, "holds, uncertain", figure{target: 1, unit: percent}.verdict(noisy))
	f := figure{target: 1}
	for want, r := range map[string]result{
		"holds":                  {Value: 1, Low: 0.9, High: 1},
		"holds, uncertain":       {Value: 0.9, Low: 0.8, High: 1.1},
		"falls short":            {Value: 1.3, Low: 1.2, High: 1.4},
		"falls short, uncertain": {Value: 1.1, Low: 0.9, High: 1.4},
		"not measured":           {Missing: "no such tool"},
	} {
		assert.Equal(t, want, f.verdict(r))
	}
}

func TestResultsAreKeptAndMadeAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	r, err := loadResults(path)
	require.NoError(t, err)
	b := &bench{results: r, current: &measurement{name: "open"}}
	b.found("maps", sample{1, 2, 3}, "seen")
	b.plot("pass", line{"ours", []point{{1, 1}}})
	b.current = &measurement{name: "hooks", quick: true}
	b.missing("hooks", errors.New("no tcplife"))
	require.NoError(t, r.save())

	again, err := loadResults(path)
	require.NoError(t, err)
	assert.Equal(t, 2.0, again.Figures["maps"].Value)
	assert.Equal(t, "make bench", again.Figures["hooks"].Command)
	again.forget("open")
	assert.NotContains(t, again.Figures, "maps")
	assert.NotContains(t, again.Plots, "pass")
	assert.Contains(t, again.Figures, "hooks")
}

// TestPageIsMadeFromResults: nobody edits the page, and the results that it shows are published.
func TestPageIsMadeFromResults(t *testing.T) {
	r, err := loadResults("../docs/performance/results.json")
	require.NoError(t, err)
	require.NotEmpty(t, r.Figures)
	want, err := r.document("performance")
	require.NoError(t, err)
	page, err := os.ReadFile("../docs/performance.md")
	require.NoError(t, err)
	assert.Equal(t, want, string(page), "run dist/bench/bench -document docs/performance.md")
}

// TestPublishedResultsAreReplacedOneByOne: others stay, with the machine that they are from.
func TestPublishedResultsAreReplacedOneByOne(t *testing.T) {
	folder := t.TempDir()
	page := filepath.Join(folder, "page.md")
	at := time.Unix(0, 0)
	publish := func(machine string, ids ...string) {
		newer := &results{Figures: map[string]result{}}
		at = at.Add(time.Hour)
		for _, id := range ids {
			newer.Figures[id] = result{Value: 1, Samples: 1, Machine: machine, Command: "make bench", When: at}
		}
		require.NoError(t, writeDocument(page, newer))
	}
	publish("Linux one", "tc-data", "hooks", "gone")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Contains(t, string(text), "Measured on Linux one.\n")
	assert.NotContains(t, string(text), ", on 1 |")
	publish("Linux two", "hooks")
	text, err = os.ReadFile(page)
	require.NoError(t, err)
	assert.Contains(t, string(text), "\n1. Linux two\n2. Linux one\n")
	for title, machine := range map[string]string{figureOf("hooks").title(): "on 1", figureOf("tc-data").title(): "on 2"} {
		assert.Regexp(t, regexp.QuoteMeta("| "+title+" |")+".*, "+machine+" \\|\n", string(text))
	}
}

// TestDocument: each figure has one row, and a plot is well-formed whatever its values.
func TestDocument(t *testing.T) {
	b := &bench{results: &results{Figures: map[string]result{}, Plots: map[string]plotted{}}, current: &measurement{name: "open"}}
	b.found("maps", sample{35.6}, "seen")
	text, err := b.results.document("performance")
	require.NoError(t, err)
	for _, f := range figures {
		assert.Equal(t, 1, strings.Count(text, "| "+f.title()+" |"), f.id)
	}
	assert.Contains(t, text, "| 35.6 MiB | ≤ 64.0 MiB | holds | 35.6 MiB–35.6 MiB, n=1 | seen | `make bench-full ONLY=open`")

	for _, lines := range [][]line{
		{{"one", []point{{1, 1}}}},
		{{"flat <", []point{{1, 35}, {8, 35}, {64, 35}}}, {"steep", []point{{1, 0.01}, {64, 99_999}}}},
	} {
		drawn := plots[0].svg(lines)
		assert.NotContains(t, drawn, "NaN")
		decoder := xml.NewDecoder(strings.NewReader(drawn))
		for err = nil; err == nil; {
			_, err = decoder.Token()
		}
		assert.ErrorIs(t, err, io.EOF)
	}
}

// TestDocumentExplainsWhatFallsShort: only measured figures that miss their targets.
func TestDocumentExplainsWhatFallsShort(t *testing.T) {
	b := &bench{results: &results{Figures: map[string]result{}, Plots: map[string]plotted{}}, current: &measurement{name: "open"}}
	const title = "## What falls short"
	document := func() string {
		text, err := b.results.document("performance")
		require.NoError(t, err)
		return text
	}
	explained := map[string]string{
		"hooks": "**Socket hooks**: a connection", "hooks-empty": "**Socket hooks beside",
		"close-logs":    "**A log per connection**: 99.0 %",
		"close-metrics": "**Metrics only**: 99.0 %", "keep-alive": "**Keep-alive**: 99.0 %",
	}
	for id := range explained {
		b.found(id, sample{0}, "")
	}
	assert.NotContains(t, document(), title)
	b.found("close-floor", sample{1.5}, "")
	b.found("close-metrics-own", sample{0.05}, "%.1f %% of the two CPUs", 0.7)
	for id := range explained {
		b.found(id, sample{99}, "")
		text := document()
		assert.Contains(t, text, title)
		for other, begins := range explained {
			assert.Equal(t, other == id, strings.Contains(text, begins), "%s of %s", other, id)
		}
		if id == "close-metrics" {
			assert.Contains(t, text, "programs at the same hooks lose 1.5 %, for (not measured) more")
			assert.Contains(t, text, "takes 0.05 s per 100k connections (0.7 % of the two CPUs).")
		}
		b.found(id, sample{0}, "")
	}
}

// TestShort: labels of plots have three digits at most.
func TestShort(t *testing.T) {
	for want, value := range map[string]float64{"1": 1, "35.6": 35.59, "100k": 100_000, "1.83k": 1830, "0.234": 0.2341} {
		assert.Equal(t, want, short(value))
	}
}
