// SPDX-License-Identifier: Apache-2.0

package line

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/event"
)

func TestOf(t *testing.T) {
	at := time.Date(2026, 11, 29, 12, 34, 56, 789e6, time.Local)
	service := event.Event{
		Time: at, Client: "10.0.0.2", ClientPort: 51234, Port: 80, Process: "nginx", PID: 123,
		Duration: -1, RTT: -1, Received: -1, Sent: -1, Retransmits: -1, Status: -1,
	}
	for want, change := range map[string]func(*event.Event){
		"12:34:56.789 open    10.0.0.2:51234        > :80 nginx[123]     rtt 310us": func(e *event.Event) {
			e.Kind, e.RTT = event.Open, 310e-6
		},
		"12:34:56.789 close   10.0.0.2:51234        > :80 nginx[123]     client_fin 1.20s in 812B out 14.2kB": func(e *event.Event) {
			e.Kind, e.Duration, e.Received, e.Sent, e.Reason = event.Close, 1.2, 812, 14_210, "client_fin"
		},
		"12:34:56.789 close   10.0.0.2:51234        > :80 nginx[123]     client_fin 752us in 812B out 14.2kB": func(e *event.Event) {
			e.Kind, e.Duration, e.Received, e.Sent, e.Reason, e.Retransmits, e.RTT = event.Close, 752e-6, 812, 14_210, "client_fin", 0, 26e-6
		},
		"12:34:56.789 failed  10.0.0.2:51234        > :81                refused": func(e *event.Event) {
			e.Kind, e.Port, e.Process, e.PID, e.Reason = event.Failed, 81, "", 0, "refused"
		},
		"12:34:56.789 request 10.0.0.2:51234        > :80 nginx[123]     200 12.3ms GET /index.html": func(e *event.Event) {
			e.Kind, e.Status, e.Duration, e.Method, e.Path = event.Request, 200, 0.0123, "GET", "/index.html"
		},
		"12:34:56.789 request 10.0.0.2              > :80 nginx[123]     unanswered": func(e *event.Event) {
			e.Kind, e.ClientPort, e.Method, e.Path, e.Reason = event.Request, 0, "", "", "unanswered"
		},
		"12:34:56.789 tls     [2001:db8::1]:51234   > :443 nginx[123]    tls 1.3 800us example.org": func(e *event.Event) {
			e.Kind, e.Client, e.Port, e.Protocol, e.Duration, e.ServerName = event.Handshake, "2001:db8::1", 443, "tls 1.3", 8e-4, "example.org"
		},
		"12:34:56.789 threat  port_scan begins": func(e *event.Event) {
			e.Kind, e.Client, e.Port, e.Text = event.Threat, "", 0, "port_scan begins"
		},
	} {
		e := service
		change(&e)
		assert.Equal(t, want, Of(&e))
	}
	service.Kind, service.Text = event.Threat, strings.Repeat("é", 200)
	assert.Equal(t, Columns, utf8.RuneCountInString(Of(&service)))
}

func TestSpan(t *testing.T) {
	for want, seconds := range map[string]event.Seconds{
		"": -1, "0.00us": 0, "1.00us": 1e-6, "12.3us": 12.3e-6, "999us": 999e-6, "1.00ms": 999.6e-6, "50.0ms": 0.05,
		"1.00s": 0.9996, "59.9s": 59.9, "1m0s": 59.96, "2h0m1s": 7201,
	} {
		assert.Equal(t, want, Span(seconds), "%v", float64(seconds))
	}
}

func TestBytes(t *testing.T) {
	for want, n := range map[string]int64{
		"0B": 0, "999B": 999, "1.00kB": 1000, "14.2kB": 14_210, "999kB": 999_400, "1.00MB": 999_600, "9.22EB": 1<<63 - 1,
	} {
		assert.Equal(t, want, Bytes(n))
	}
}
