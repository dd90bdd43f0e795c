// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/replay"
)

// TestRequestsOfCaptures replays the captures that Zeek has a log of, beside a collector. Each
// row is a record. A row without method is one whose method is _OTHER.
func TestRequestsOfCaptures(t *testing.T) {
	if os.Getenv("EBPF_TCP_PCAPS") == "" {
		t.Log("EBPF_TCP_PCAPS unset: no capture is read")
		return
	}
	logs, err := filepath.Glob(filepath.Join(os.Getenv("EBPF_TCP_PCAPS"), "http", "*.http.log"))
	require.NoError(t, err)
	require.NotEmpty(t, logs, "EBPF_TCP_PCAPS has no logs of HTTP")
	for _, log := range logs {
		name := strings.TrimSuffix(log, ".http.log")
		t.Run(filepath.Base(name), func(t *testing.T) {
			capture, err := replay.Read(name + ".pcap")
			require.NoError(t, err)
			rows, err := capture.Rows(log)
			require.NoError(t, err)
			checkRows(t, rows, recordsOf(t, capture, len(rows)))
		})
	}
}

// recordsOf are those of the requests of a capture.
func recordsOf(t *testing.T, capture *replay.Capture, least int) []record {
	t.Helper()
	n, out := newNetwork(t), startRequestSink(t)
	var ports []string
	for _, port := range capture.Ports() {
		n.server.startServer(t, int(port))
		ports = append(ports, fmt.Sprint(port))
	}
	var device *replay.Device
	require.NoError(t, n.server.Do(func() (err error) {
		device, err = replay.Open("capture0", capture.Ethernet)
		return err
	}))
	t.Cleanup(func() { assert.NoError(t, device.Close()) })
	agent := startAgent(t, out.endpoint, agentSettings{
		in: n.server, receiver: "    inspect: {http: {ports: [" + strings.Join(ports, ",") + "]}}",
	})
	for i := range capture.Frames {
		require.NoError(t, device.Send(capture, &capture.Frames[i]))
	}
	b := agent.balance(func(b lab.Ledger) bool { return b["request"].Delivered >= float64(least) })
	assert.Empty(t, losses(b))
	agent.stop()
	return out.records(func(record) bool { return true })
}

// checkRows compares the records of each connection with its rows, in their order.
func checkRows(t *testing.T, rows []replay.Row, records []record) {
	t.Helper()
	assert.Len(t, records, len(rows))
	byClient := map[string][]record{}
	for _, r := range records {
		client := fmt.Sprintf("%v:%v", r.values["network.peer.address"], r.values["network.peer.port"])
		byClient[client] = append(byClient[client], r)
	}
	next := map[netip.AddrPort]int{}
	for _, row := range rows {
		i, of := next[row.Client], byClient[row.Client.String()]
		next[row.Client]++
		if !assert.Less(t, i, len(of), "%+v", row) {
			continue
		}
		values := of[i].values
		assert.EqualValues(t, row.Status, values["http.response.status_code"], "%+v", row)
		switch row.Method {
		case "":
			assert.Equal(t, "_OTHER", values["http.request.method"], "%+v", row)
			assert.Equal(t, "malformed_request", values["error.type"], "%+v", row)
			continue
		case "CCM_POST":
			assert.Equal(t, "_OTHER", values["http.request.method"])
			assert.Equal(t, row.Method, values["http.request.method_original"])
		default:
			assert.Equal(t, row.Method, values["http.request.method"])
		}
		path, _ := values["url.path"].(string)
		assert.Equal(t, row.URI, path, "%+v", row)
		assert.Equal(t, row.Host, values["server.address"])
	}
}
