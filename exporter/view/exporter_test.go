// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bufio"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ebpftcp/ebpftcpreceiver/exporter/view/internal/metadata"
)

// TestBothSignals has one page for logs and metrics, which stops and starts again.
func TestBothSignals(t *testing.T) {
	f := NewFactory()
	cfg := createDefaultConfig()
	cfg.HTTP.NetAddr.Endpoint = "localhost:0"
	core, said := observer.New(zap.InfoLevel)
	set := exportertest.NewNopSettings(metadata.Type)
	set.Logger = zap.New(core)
	toLogs, err := f.CreateLogs(t.Context(), set, cfg)
	require.NoError(t, err)
	toMetrics, err := f.CreateMetrics(t.Context(), set, cfg)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, toLogs.Start(t.Context(), componenttest.NewNopHost()))
		require.NoError(t, toMetrics.Start(t.Context(), componenttest.NewNopHost()))
		lines := said.TakeAll()
		require.Len(t, lines, 1, "one page")
		ld := plog.NewLogs()
		r := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		r.SetEventName("tcp.server.connection.close")
		r.Attributes().PutStr("client.address", "192.0.2.1")
		require.NoError(t, toLogs.ConsumeLogs(t.Context(), ld))
		md := pmetric.NewMetrics()
		m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName("tcp.server.connection.active")
		point := m.SetEmptySum().DataPoints().AppendEmpty()
		point.SetIntValue(4321)
		point.Attributes().PutInt("server.port", 80)
		require.NoError(t, toMetrics.ConsumeMetrics(t.Context(), md))
		answer, err := http.Get("http://" + lines[0].ContextMap()["address"].(string) + "/snapshots")
		require.NoError(t, err)
		text, err := bufio.NewReaderSize(answer.Body, 1<<20).ReadString('\n')
		require.NoError(t, err)
		assert.Contains(t, text, "192.0.2.1")
		assert.Contains(t, text, "4321")
		require.NoError(t, toLogs.Shutdown(t.Context()))
		require.NoError(t, toMetrics.Shutdown(t.Context()))
		_, err = answer.Body.Read(make([]byte, 1<<20))
		require.Error(t, err, "viewers are cut off")
		require.NoError(t, answer.Body.Close())
	}
}

func TestAddressInUse(t *testing.T) {
	f := NewFactory()
	start := func(endpoint string) (string, error) {
		cfg := createDefaultConfig()
		cfg.HTTP.NetAddr.Endpoint = endpoint
		core, said := observer.New(zap.InfoLevel)
		set := exportertest.NewNopSettings(metadata.Type)
		set.Logger = zap.New(core)
		e, err := f.CreateLogs(t.Context(), set, cfg)
		require.NoError(t, err)
		t.Cleanup(func() { _ = e.Shutdown(t.Context()) })
		if err := e.Start(t.Context(), componenttest.NewNopHost()); err != nil {
			return "", err
		}
		return said.All()[0].ContextMap()["address"].(string), nil
	}
	address, err := start("127.0.0.1:0")
	require.NoError(t, err)
	_, err = start(address)
	require.ErrorContains(t, err, "listen for viewers at "+address)
}
