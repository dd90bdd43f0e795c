// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/event"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/model"
)

func state() *State {
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.Local)
	service := func(port uint16, process string) model.Service {
		return model.Service{
			ServiceKey: model.ServiceKey{Port: port, Process: process}, Open: 3, Opened: 12.34, Requests: 150.4, Answer: 0.0123,
			Slowest: 0.2, RTT: -1, Received: 1234, Sent: 5_000_000, Queued: 2, Limit: 511,
		}
	}
	full := service(443, "haproxy")
	full.Queued, full.Limit, full.Overflows = 512, 511, 3
	unknown := service(22, "sshd")
	unknown.Limit, unknown.Queued, unknown.Answer, unknown.Slowest = -1, -1, -1, -1
	return &State{
		Snapshot: model.Snapshot{
			Time: at, Services: []model.Service{service(80, "nginx"), full, unknown},
			Clients:  []model.Client{{Address: "10.0.0.1", Connections: 3, Bytes: 15_000, Port: 80, Process: "nginx", Last: at}},
			Failures: []model.Failure{{Port: 81, Reason: "refused", Count: 7, Client: "10.0.0.9", Last: at}},
			Requests: []model.Request{{ServiceKey: model.ServiceKey{Host: "web-1", Port: 80, Process: "nginx"}, What: "GET /a", Count: 4, Errors: 1, Answer: 0.1, Slowest: 2}},
			Findings: []event.Event{{Kind: event.Threat, Time: at, Rule: "port_scan", Client: "10.0.0.9", State: "begin", Text: "scans"}},
			Events:   []event.Event{{Kind: event.Threat, Time: at, Text: "first"}, {Kind: event.Threat, Time: at, Text: "second"}},
		},
		Hooks:  []Hook{{"a", ""}, {"b", "operation not permitted"}},
		Losses: []Loss{{"connection", "ring", "full", 5}},
	}
}

func TestWrite(t *testing.T) {
	var b strings.Builder
	require.NoError(t, Write(&b, Views(), state()))
	assert.Equal(t, `SERVICES
PORT  PROCESS  OPEN  NEW/S  FAIL/S  REQ/S  ERR/S     P50    P99  RTT    IN/S   OUT/S
80    nginx       3   12.3       0    150      0  12.3ms  200ms    -  1.23kB  5.00MB
443   haproxy     3   12.3       0    150      0  12.3ms  200ms    -  1.23kB  5.00MB
22    sshd        3   12.3       0    150      0       -      -    -  1.23kB  5.00MB

CLIENTS
CLIENT    CONNS  FAILED  REQUESTS   BYTES  LAST PORT  PROCESS  LAST
10.0.0.1      3       0         0  15.0kB  80         nginx    12:00:00

FAILURES
PORT  PROCESS  REASON   COUNT  LAST CLIENT  LAST
81             refused      7  10.0.0.9     12:00:00

QUEUES
PORT  PROCESS  QUEUED  LIMIT  FULL  OVERFLOWS/S
443   haproxy     512    511  100%          3.0
80    nginx         2    511    0%            0

REQUESTS
PORT  PROCESS       COUNT  ERRORS    P50    P99  REQUEST
80    nginx @web-1      4       1  100ms  2.00s  GET /a

THREATS
TIME      RULE       CLIENT    STATE  WHAT
12:00:00  port_scan  10.0.0.9  begin  scans

EVENTS
EVENT
12:00:00.000 threat  second
12:00:00.000 threat  first

HOOKS
HOOK              STATE
lost: connection  5 at ring: full
b                 operation not permitted
a                 attached

`, b.String())
}

func TestWriteSaysHowManyMore(t *testing.T) {
	s := &State{}
	for range plainRows + 3 {
		s.Hooks = append(s.Hooks, Hook{"a", ""})
	}
	var b strings.Builder
	require.NoError(t, Write(&b, Views()[7:], s))
	assert.Contains(t, b.String(), "(3 more)\n")
	assert.Equal(t, plainRows, strings.Count(b.String(), "attached"))
}

func TestSort(t *testing.T) {
	rows := services(state())
	Sort(rows, 0, false)
	assert.Equal(t, "22", rows[0][0].Text)
	Sort(rows, 1, false)
	assert.Equal(t, "haproxy", rows[0][1].Text)
	Sort(rows, 7, true)
	assert.Equal(t, "-", rows[2][7].Text, "what is not known comes last")
	Sort(rows, 7, false)
	assert.Equal(t, "-", rows[2][7].Text)
}

func TestMatches(t *testing.T) {
	row := services(state())[0]
	assert.True(t, Matches(row, "NGI"))
	assert.False(t, Matches(row, "apache"))
}

func TestViewsHaveKeysOfTheirOwn(t *testing.T) {
	keys, names := map[rune]bool{}, map[string]bool{}
	for _, view := range Views() {
		keys[view.Key], names[view.Name] = true, true
		for _, row := range view.Rows(state()) {
			assert.Len(t, row, len(view.Columns), view.Name)
		}
	}
	assert.Len(t, keys, len(Views()))
	assert.Len(t, names, len(Views()))
}
