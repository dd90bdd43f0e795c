// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Metric is one line of a Prometheus endpoint.
type Metric struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// Has tells whether the metric has all of these labels, each followed by its value.
func (m Metric) Has(labels ...string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if m.Labels[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// Scrape reads a Prometheus endpoint on loopback of the namespace.
func (ns Namespace) Scrape(ctx context.Context, port int) ([]Metric, error) {
	text, err := ns.Run(ctx, "curl", "-sSf", "--max-time", "5", fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
	if err != nil {
		return nil, err
	}
	var all []Metric
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		m, err := parseMetric(line)
		if err != nil {
			return nil, fmt.Errorf("read the metrics at port %d: %w", port, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// parseMetric reads `name{label="value",…} number`. Values with quotes are not supported.
func parseMetric(line string) (Metric, error) {
	space := strings.LastIndexByte(line, ' ')
	value, err := strconv.ParseFloat(line[space+1:], 64)
	if err != nil {
		return Metric{}, fmt.Errorf("line %q: %w", line, err)
	}
	name, rest, _ := strings.Cut(line[:max(space, 0)], "{")
	m := Metric{Name: strings.TrimSuffix(name, "_total"), Labels: map[string]string{}, Value: value}
	for pair := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), `",`) {
		if key, value, found := strings.Cut(pair, `="`); found {
			m.Labels[key] = strings.TrimSuffix(value, `"`)
		}
	}
	return m, nil
}
