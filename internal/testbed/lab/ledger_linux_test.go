// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ledgerAt has ten failed attempts for each unit of value.
func ledgerAt(t *testing.T, value float64) Ledger {
	t.Helper()
	var metrics []Metric
	for _, one := range []struct {
		line  string
		times float64
	}{
		{`otelcol_ebpf_tcp_produced_total{event="failed",receiver="ebpf_tcp"} 1`, 10},
		{`otelcol_ebpf_tcp_produced_total{event="packet",receiver="ebpf_tcp"} 1`, 1000},
		{`otelcol_ebpf_tcp_delivered_total{event="failed",receiver="ebpf_tcp"} 1`, 4},
		{`otelcol_ebpf_tcp_lost_total{event="failed",place="ring",reason="full"} 1`, 6},
		{`otelcol_ebpf_tcp_lost_total{event="failed",place="queue",reason="full"} 1`, 0},
		{`otelcol_ebpf_tcp_lost_total{event="listener",place="ring",reason="full"} 1`, 1},
		{`otelcol_ebpf_tcp_connections_active 1`, 5},
		{`otelcol_receiver_accepted_log_records_total 1`, 7},
	} {
		m, err := parseMetric(one.line)
		require.NoError(t, err)
		m.Value *= one.times * value
		metrics = append(metrics, m)
	}
	return LedgerOf(metrics)
}

func TestLedger(t *testing.T) {
	before, after := ledgerAt(t, 1)["failed"], ledgerAt(t, 3)["failed"]
	assert.Zero(t, after.Difference())
	assert.Equal(t, "12 ring full", after.Since(before).LostWhere())
	assert.Equal(t, 20.0, after.Since(before).Produced)
	assert.Equal(t, "nothing", after.Since(after).LostWhere())
	assert.Equal(t, "18 ring full", after.LostWhere(), "not changed")
	after.Queued = 2
	assert.Equal(t, -2.0, after.Difference())

	ledger := ledgerAt(t, 1)
	assert.Equal(t, 5.0, ledger["connection"].Active)
	assert.Zero(t, ledger["listener"].Difference(), "only losses are counted")
	assert.False(t, ledger.Balanced(), "packets are missing")
	packets := ledger["packet"]
	packets.Delivered = packets.Produced
	ledger["packet"] = packets
	assert.True(t, ledger.Balanced())
}

func TestMetric(t *testing.T) {
	m, err := parseMetric(`tcp_server_packets_total{tcp_packet_class="syn",network_io_direction="receive"} 1.5e+06`)
	require.NoError(t, err)
	assert.Equal(t, Metric{
		"tcp_server_packets", map[string]string{"tcp_packet_class": "syn", "network_io_direction": "receive"}, 1.5e6,
	}, m)
	assert.True(t, m.Has("tcp_packet_class", "syn"))
	assert.False(t, m.Has("tcp_packet_class", "syn", "network_io_direction", "transmit"))
	_, err = parseMetric("nothing")
	assert.Error(t, err)
}
