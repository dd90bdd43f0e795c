// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package backends

import (
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/deploy"
)

// span is where a number has to be, both ends included.
type span struct{ from, to float64 }

// about allows for the extrapolation of rate() and increase().
func about(n float64) span { return span{0.9 * n, 1.1 * n} }

func exactly(n float64) span { return span{n, n} }

// known is what a query has to answer.
type known struct {
	// by are the labels that tell rows apart. A row's key is their values, joined by spaces.
	by []string
	// rows are all with a value above 0.
	rows map[string]span
	// maybe are further rows that some kernels have.
	maybe []string
	// counts is set if the rows are counts, and the query has a rate per second.
	counts bool
	// scraped is set if a scraper has the same answer, because the series begin early.
	scraped bool
}

// window is the range of the queries, in seconds.
const window = 300

// each has the same span for every visited service.
func each(from, to float64) map[string]span {
	rows := map[string]span{}
	for _, v := range visited {
		rows[v.service] = span{from, to}
	}
	return rows
}

// answers are those of metrics.
func answers(w *town) map[string]known {
	name, port := "process_executable_name", "server_port"
	connections, bytes, reasons := map[string]span{"deaf 29305": about(deafBacklog + 1)}, map[string]span{}, map[string]span{}
	for p, v := range visited {
		connections[v.service+" "+strconv.Itoa(p)] = about(float64(v.connections))
		bytes[v.service+" receive"] = about(float64(w.did[p].Sent))
		if w.did[p].Received > 0 {
			bytes[v.service+" transmit"] = about(float64(w.did[p].Received))
		}
		reasons[v.service+" "+v.reason] = about(float64(v.connections))
	}
	accepts := each(1e-6, 0.025)
	accepts["slow"] = span{0.025, 0.25}
	return map[string]known{
		"connections":   {by: []string{name, port}, rows: connections, counts: true, scraped: true},
		"open":          {by: []string{name, port}, rows: map[string]span{"deaf 29305": exactly(deafBacklog + 1)}, scraped: true},
		"rtt_p50":       {by: []string{name}, rows: each(1e-6, 0.005), scraped: true},
		"rtt_p99":       {by: []string{name}, rows: each(1e-6, 0.025), scraped: true},
		"handshake_p99": {by: []string{name}, rows: each(1e-6, 0.025), scraped: true},
		"accept_p99":    {by: []string{name}, rows: accepts},
		"duration_p99":  {by: []string{name}, rows: each(1e-5, 1), scraped: true},
		"failed_share": {by: []string{name}, maybe: []string{"deaf"}, rows: map[string]span{
			"nginx": about(float64(halfOpen) / (halfOpen + webVisits)),
		}},
		"failed_causes": {by: []string{name, "error_type"}, counts: true, maybe: []string{"deaf handshake_timeout", "deaf accept_queue_overflow"}, rows: map[string]span{
			"nginx handshake_timeout": about(halfOpen), "refused": about(knocks),
		}},
		"accept_queue": {by: []string{name, port}, rows: map[string]span{
			"deaf 29305": exactly(float64(deafBacklog+1) / deafBacklog),
		}, scraped: true},
		"close_reasons": {by: []string{name, "tcp_close_reason"}, rows: reasons, counts: true},
		"resets": {by: []string{name, "tcp_reset_side"}, counts: true, rows: map[string]span{
			"resetter server": about(resetterVisits),
		}},
		"retransmit_share": {by: []string{name}},
		"bytes":            {by: []string{name, "network_io_direction"}, rows: bytes, counts: true, scraped: true},
		"requests":         {by: []string{name}, rows: map[string]span{"nginx": about(webVisits)}, counts: true},
		"request_errors":   {by: []string{name}, rows: map[string]span{"nginx": about(float64(badVisits) / webVisits)}},
		"request_p99":      {by: []string{name}, rows: map[string]span{"nginx": {1e-6, 0.05}}},
		"unanswered_syns":  {rows: map[string]span{"": {1.05, 2}}},
	}
}

// rates are replaced where a backend has another idea of a rate over a range that is longer than
// the series.
var rates = regexp.MustCompile(`\brate\(`)

// testQuestions asks every question, of each backend that can have the answer.
func testQuestions(t *testing.T, s *system, w *town) {
	queries, err := deploy.Queries()
	require.NoError(t, err)
	known := answers(w)
	for _, q := range queries {
		t.Run(q.ID, func(t *testing.T) {
			switch want, ok := known[q.ID]; {
			case ok:
				want.test(t, s, q.PromQL)
			case q.LogsQL != "":
				testLogs(t, s, w, q)
			default:
				testOther(t, s, q)
			}
		})
	}
}

func (k known) test(t *testing.T, s *system, query string) {
	t.Helper()
	perWindow := 1.0
	if k.counts {
		perWindow = window
	}
	pushed := `via=""`
	k.compare(t, s.prometheus, deploy.Select(query, pushed, pushed), perWindow)
	if k.scraped {
		scraped := `via="scrape"`
		k.compare(t, s.prometheus, deploy.Select(query, scraped, scraped), perWindow)
	}
	// VictoriaMetrics divides by the age of a series that is younger than the range.
	query = deploy.Select(query, pushed, pushed)
	_, err := s.victoria.vector(query)
	require.NoError(t, err)
	k.compare(t, s.victoria, rates.ReplaceAllString(query, "increase("), 1)
}

// compare asks until the answer is right: the last snapshot may be on its way.
func (k known) compare(t *testing.T, m metrics, query string, perWindow float64) {
	t.Helper()
	eventually(t, m.name+": "+query, func() (bool, string) {
		rows, err := m.vector(query)
		if err != nil {
			return false, err.Error()
		}
		found := map[string]float64{}
		for _, row := range rows {
			if row.Value > 0 && !math.IsNaN(row.Value) {
				found[key(row.Labels, k.by)] += row.Value * perWindow
			}
		}
		right := true
		for key, want := range k.rows {
			got, ok := found[key]
			right = right && ok && got >= want.from && got <= want.to
		}
		for key := range found {
			_, expected := k.rows[key]
			right = right && (expected || slices.Contains(k.maybe, key))
		}
		return right, fmt.Sprint(found, " instead of ", k.rows)
	})
}

func key(labels map[string]string, by []string) string {
	var values []string
	for _, label := range by {
		values = append(values, labels[label])
	}
	return strings.TrimSpace(strings.Join(values, " "))
}

// total adds up a field of rows.
func total(t *testing.T, rows []map[string]string, field string) float64 {
	t.Helper()
	sum := 0.0
	for _, row := range rows {
		n, err := strconv.ParseFloat(row[field], 64)
		require.NoError(t, err, "%v", row)
		sum += n
	}
	return sum
}

// testLogs: what clients did is what records say of them.
func testLogs(t *testing.T, s *system, w *town, q deploy.Query) {
	t.Helper()
	rows, err := s.logs.rows(q.LogsQL)
	require.NoError(t, err)
	all, sent, received := 0, 0.0, 0.0
	for port, v := range visited {
		all += v.connections
		sent, received = sent+float64(w.did[port].Received), received+float64(w.did[port].Sent)
	}
	switch q.ID {
	case "clients_by_bytes":
		assert.Len(t, rows, 8, "clients")
		assert.EqualValues(t, sent, total(t, rows, "sent"))
		assert.EqualValues(t, received, total(t, rows, "received"))
		assert.EqualValues(t, all, total(t, rows, "connections"))
	case "clients_by_attempts":
		assert.Len(t, rows, 8, "clients")
		assert.EqualValues(t, all, total(t, rows, "connections"))
	case "clients_by_failures":
		assert.GreaterOrEqual(t, total(t, rows, "attempts"), float64(knocks+halfOpen))
	case "closed_ports":
		require.Len(t, rows, 1)
		assert.Equal(t, map[string]string{
			"client.address": w.Client4.String(), "attempts": strconv.Itoa(knocks), "ports": "1",
		}, rows[0])
	case "slow_clients":
		assert.Len(t, rows, len(visited))
	default:
		t.Errorf("the answer of %s is not known", q.ID)
	}
}

// testOther asks what has an answer of its own.
func testOther(t *testing.T, s *system, q deploy.Query) {
	t.Helper()
	pushed := `via=""`
	query := deploy.Select(q.PromQL, pushed, pushed)
	rows, err := s.prometheus.vector(query)
	require.NoError(t, err)
	switch q.ID {
	case "overflows":
		// The kernel counts them for the listener, or for its namespace.
		require.Len(t, positive(rows), 1)
	case "drops":
		for _, row := range rows {
			assert.NotEmpty(t, row.Labels["tcp_drop_reason"])
		}
	case "packet_classes":
		sent := map[string]float64{}
		for _, row := range rows {
			sent[row.Labels["tcp_packet_class"]+" "+row.Labels["network_io_direction"]] = row.Value * window
		}
		established := float64(deafBacklog + 1)
		for _, v := range visited {
			established += float64(v.connections)
		}
		assert.GreaterOrEqual(t, sent["syn receive"], 0.9*(established+knocks+halfOpen))
		assert.GreaterOrEqual(t, sent["syn_ack transmit"], 0.9*(established+halfOpen))
		assert.Less(t, sent["syn_ack transmit"], sent["syn receive"]+10*halfOpen)
	case "lost":
		assert.Empty(t, rows)
	case "hooks":
		own, err := s.collector.Metrics(t.Context())
		require.NoError(t, err)
		var missing, told []string
		for _, m := range own {
			if m.Name == "otelcol_ebpf_tcp_hook_attached" && m.Value == 0 {
				missing = append(missing, m.Labels["hook"])
			}
		}
		for _, row := range rows {
			told = append(told, row.Labels["hook"])
		}
		assert.ElementsMatch(t, missing, told)
	default:
		t.Errorf("the answer of %s is not known", q.ID)
	}
}

func positive(all []sample) []sample {
	return slices.DeleteFunc(slices.Clone(all), func(s sample) bool { return s.Value <= 0 })
}

// TestRules checks the rules, and that each alert fires and ends.
func TestRules(t *testing.T) {
	for _, arguments := range [][]string{
		{"check", "rules", "--lint-fatal", "../../deploy/prometheus/rules.yaml"},
		{"test", "rules", "../../deploy/prometheus/rules_test.yaml"},
	} {
		said, err := exec.Command(program("promtool"), arguments...).CombinedOutput()
		assert.NoError(t, err, "promtool %v: %s", arguments, said)
	}
}
