// SPDX-License-Identifier: Apache-2.0

package event

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.yaml.in/yaml/v3"
)

// TestReadGolden reads the records that the receiver's own tests hold it to.
func TestReadGolden(t *testing.T) {
	text, err := os.ReadFile("../../../receiver/internal/logrecord/testdata/logs.json")
	require.NoError(t, err)
	ld, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(text)
	require.NoError(t, err)
	seen := map[Kind]Event{}
	for _, resource := range ld.ResourceLogs().All() {
		for _, record := range resource.ScopeLogs().At(0).LogRecords().All() {
			e := Read(resource.Resource(), record)
			if _, ok := seen[e.Kind]; !ok {
				seen[e.Kind] = e
			}
		}
	}
	closed := seen[Close]
	assert.Equal(t, "tcp.server.connection.close", closed.Name)
	assert.NotEmpty(t, closed.Client)
	assert.NotZero(t, closed.Port)
	assert.True(t, closed.Duration.Known())
	assert.GreaterOrEqual(t, closed.Received, int64(0))
	assert.NotEmpty(t, closed.Reason)
	require.Contains(t, seen, Failed)
	assert.True(t, seen[Failed].Bad)
	assert.NotEmpty(t, seen[Failed].Reason)
	assert.NotContains(t, seen, Other)
}

func record(name string, attributes map[string]any) plog.LogRecord {
	r := plog.NewLogRecord()
	r.SetEventName(name)
	r.SetTimestamp(pcommon.NewTimestampFromTime(time.Unix(1, 0)))
	_ = r.Attributes().FromRaw(attributes)
	return r
}

func TestRead(t *testing.T) {
	for name, of := range map[string]struct {
		event      string
		attributes map[string]any
		want       func(*Event)
	}{
		"socket beside a proxy's client": {
			"tcp.server.http.request",
			map[string]any{
				"client.address": "203.0.113.9", "server.address": "example.org", "server.port": 443,
				"network.peer.address": "10.0.0.1", "network.peer.port": 5000, "network.local.port": 8000,
				"http.request.method": "GET", "url.path": "/a", "http.response.status_code": 503,
				"tcp.http.duration": 0.25, "network.protocol.name": "http", "network.protocol.version": "1.1",
				"error.type": "503",
			},
			func(e *Event) {
				e.Kind, e.Bad = Request, true
				e.Client, e.Port, e.ServerName = "203.0.113.9", 8000, "example.org"
				e.Method, e.Path, e.Status, e.Duration, e.Protocol = "GET", "/a", 503, 0.25, "1.1"
				e.Reason = "503"
			},
		},
		"only the socket": {
			"tcp.server.http.request",
			map[string]any{"network.peer.address": "10.0.0.1", "network.peer.port": 5000, "network.local.port": 8000},
			func(e *Event) { e.Kind, e.Client, e.ClientPort, e.Port = Request, "10.0.0.1", 5000, 8000 },
		},
		"version of TLS": {
			"tcp.server.tls.handshake",
			map[string]any{"tls.protocol.name": "tls", "tls.protocol.version": "1.3"},
			func(e *Event) { e.Kind, e.Protocol = Handshake, "tls 1.3" },
		},
		"values of other types and sizes": {
			"tcp.server.connection.close",
			map[string]any{
				"server.port": 70000, "client.port": "x", "tcp.receive.size": "many", "tcp.connection.duration": -2.0,
				"process.executable.name": 7, "tcp.rtt.min": "slow",
			},
			func(e *Event) { e.Kind, e.Process = Close, "7" },
		},
		"characters that a terminal obeys": {
			"tcp.server.connection.close\x1b",
			map[string]any{"process.executable.name": "a\x1b]0;b\x07\n\u202e" + string([]byte{0xff}), "error.type": "\r"},
			func(e *Event) {
				e.Name, e.Process, e.Reason, e.Bad = "tcp.server.connection.close\ufffd", "a\ufffd]0;b\ufffd\ufffd\ufffd\ufffd", "\ufffd", true
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := Event{
				Name: of.event, Time: time.Unix(1, 0).UTC(),
				Duration: absent, RTT: absent, Received: absent, Sent: absent, Retransmits: absent, Status: absent,
			}
			of.want(&want)
			assert.Equal(t, want, Read(pcommon.NewResource(), record(of.event, of.attributes)))
		})
	}
}

func TestNameFromTheBody(t *testing.T) {
	r := record("", nil)
	r.Body().SetStr("tcp.server.threat port_scan begins")
	e := Read(pcommon.NewResource(), r)
	assert.Equal(t, Threat, e.Kind)
	assert.Equal(t, "port_scan begins", e.Text)
}

// TestNamesAreDeclared holds the names that this package reads to metadata.yaml.
func TestNamesAreDeclared(t *testing.T) {
	declared := map[string]bool{}
	for _, file := range []string{"receiver", "connector/threats", "connector/guard"} {
		var d struct {
			Attributes, ResourceAttributes map[string]struct {
				NameOverride string `yaml:"name_override"`
			}
			Events map[string]any
		}
		text, err := os.ReadFile("../../../" + file + "/metadata.yaml")
		require.NoError(t, err)
		require.NoError(t, yaml.Unmarshal(text, &d))
		for name, attribute := range d.Attributes {
			declared[name] = true
			declared[attribute.NameOverride] = true
		}
		for name := range d.Events {
			declared[name] = true
		}
	}
	// They are the resource's.
	declared["host.name"], declared["container.id"] = true, true
	quoted := regexp.MustCompile(`"([a-z_0-9]+(?:\.[a-z_0-9]+)+)"`)
	found := 0
	for _, file := range []string{"event.go", "attributes.go"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range quoted.FindAllStringSubmatch(string(text), -1) {
			assert.True(t, declared[name[1]], "%s: no metadata.yaml has %s", file, name[1])
			found++
		}
	}
	assert.Greater(t, found, 30)
}
