// SPDX-License-Identifier: Apache-2.0

package page

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/model"
)

func TestKnows(t *testing.T) {
	p := New(Settings{Hosts: []string{"gate.example"}, Endpoint: "web-1:9466"})
	for host, known := range map[string]bool{
		"localhost:9466": true, "localhost": true, "127.0.0.1:9466": true, "[::1]:9466": true, "[::1]": true, "192.0.2.7:80": true,
		"web-1:9466": true, "WEB-1": true, "gate.example:443": true, "gate.example.": true,
		"evil.example:9466": false, "": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
	} {
		assert.Equal(t, known, p.knows(host), host)
	}
	assert.False(t, New(Settings{Endpoint: ":9466"}).knows(""), "an endpoint without a host is no name")
}

// serve runs a page with so many viewers until the test ends.
func serve(t *testing.T, viewers int, m *model.Model) *httptest.Server {
	t.Helper()
	p := New(Settings{Model: m, Endpoint: "localhost:9466", MaxViewers: viewers})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	s := httptest.NewServer(p)
	t.Cleanup(func() {
		stop()
		<-done
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func TestFiles(t *testing.T) {
	s := serve(t, 1, model.New(time.Now))
	for path, kind := range map[string]string{"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"} {
		answer, err := http.Get(s.URL + path)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		assert.Equal(t, http.StatusOK, answer.StatusCode)
		assert.Contains(t, answer.Header.Get("Content-Type"), kind)
		assert.Contains(t, answer.Header.Get("Content-Security-Policy"), "default-src 'none'")
	}
	for _, bad := range []struct{ method, path, host string }{
		{http.MethodPost, "/", ""},
		{http.MethodPost, "/snapshots", ""},
		{http.MethodGet, "/x", ""},
		{http.MethodGet, "/", "evil.example"},
		{http.MethodGet, "/snapshots", "evil.example"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), bad.method, s.URL+bad.path, nil)
		require.NoError(t, err)
		request.Host = bad.host
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		assert.GreaterOrEqual(t, answer.StatusCode, 400, "%+v", bad)
	}
}

// snapshots returns a function that reads the next one.
func snapshots(t *testing.T, s *httptest.Server) func() message {
	t.Helper()
	answer, err := http.Get(s.URL + "/snapshots")
	require.NoError(t, err)
	t.Cleanup(func() { answer.Body.Close() })
	require.Equal(t, http.StatusOK, answer.StatusCode)
	lines := bufio.NewReaderSize(answer.Body, 2*maxBytes)
	return func() message {
		text, err := lines.ReadString('\n')
		require.NoError(t, err)
		empty, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "\n", empty)
		var m message
		require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(text, "data: ")), &m))
		return m
	}
}

func fill(m *model.Model, clients int, process string) {
	ld := plog.NewLogs()
	for i := range clients {
		r := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		r.SetEventName("tcp.server.connection.failed")
		_ = r.Attributes().FromRaw(map[string]any{
			"client.address": fmt.Sprintf("10.0.%d.%d", i>>8, i&255), "server.port": i + 1, "process.executable.name": process, "error.type": "refused",
		})
	}
	m.Logs(ld)
}

func TestSnapshots(t *testing.T) {
	m := model.New(time.Now)
	fill(m, 3, "<img onerror=x>\x1b")
	next := snapshots(t, serve(t, 1, m))
	first := next()
	names := []string{}
	for _, table := range first.Tables {
		names = append(names, table.Name)
		if table.Name == "failures" {
			assert.Len(t, table.Rows, 3)
			assert.Equal(t, "<img onerror=x>\ufffd", table.Rows[0][1])
		}
	}
	assert.Equal(t, []string{"services", "clients", "failures", "queues", "requests", "threats", "events"}, names)
	assert.Greater(t, next().Time, first.Time)
}

// TestSnapshotsAreBounded has names of 255 bytes, each of which JSON writes as six.
func TestSnapshotsAreBounded(t *testing.T) {
	m := model.New(time.Now)
	fill(m, 5000, strings.Repeat("<", 300))
	text := encode(m.Snapshot())
	assert.LessOrEqual(t, len(text), maxBytes)
	assert.NotContains(t, string(text), "<", "escaped")
	assert.Equal(t, 2, strings.Count(string(text), "\n"))
	assert.Contains(t, string(text), `"more":`)
}

func TestTooManyViewers(t *testing.T) {
	s := serve(t, 2, model.New(time.Now))
	snapshots(t, s)()
	snapshots(t, s)()
	answer, err := http.Get(s.URL + "/snapshots")
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	assert.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
}

// TestViewersThatLeaveMakeRoom also has one that never reads: it holds up nobody.
func TestViewersThatLeaveMakeRoom(t *testing.T) {
	m := model.New(time.Now)
	fill(m, 5000, "nginx")
	s := serve(t, 2, m)
	silent, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer silent.Close()
	_, err = fmt.Fprint(silent, "GET /snapshots HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	for range 3 {
		var answer *http.Response
		require.Eventually(t, func() bool {
			answer, err = http.Get(s.URL + "/snapshots")
			if err != nil || answer.StatusCode != http.StatusOK {
				return false
			}
			return true
		}, 30*time.Second, 10*time.Millisecond)
		_, err = bufio.NewReader(answer.Body).ReadString('\n')
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
	}
}
