// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/forwarded"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/tlsview"
)

func failedHandshake(outcome tls.Outcome, by tls.Side) *tls.Handshake {
	h := facttest.Handshake()
	h.Outcome, h.By, h.Answered = outcome, by, 0
	return h
}

// handshakes have, together, every attribute of the event.
func handshakes() []*tls.Handshake {
	other := failedHandshake(tls.OutcomeAlert, tls.SideClient)
	other.Alert = 7
	ssl := facttest.Handshake()
	ssl.Version, ssl.Cipher = tls.VersionSSL3, 0xfefe
	return []*tls.Handshake{
		facttest.Handshake(), other, ssl, failedHandshake(tls.OutcomeAlert, tls.SideServer),
		failedHandshake(tls.OutcomeClosed, tls.SideClient), failedHandshake(tls.OutcomeReset, tls.SideServer),
		failedHandshake(tls.OutcomeNoAnswer, tls.SideServer), failedHandshake(tls.OutcomeOther, tls.SideServer),
		failedHandshake(tls.OutcomeUnknown, tls.SideUnknown),
	}
}

// view shows all of a handshake, and trusts nobody.
func view(h *tls.Handshake) *tlsview.View { return tlsview.New(tlsview.Options{}).Of(h) }

func handshakeRecord(t *testing.T, h *tls.Handshake) plog.LogRecord {
	t.Helper()
	l := testLogs(allEvents())
	require.True(t, l.Handshake(view(h), facttest.Process(), owner.ByListener))
	return single(t, l.Take())
}

func TestHandshakeRecord(t *testing.T) {
	record := handshakeRecord(t, facttest.Handshake())
	got := record.Attributes().AsRaw()
	for key, want := range map[string]any{
		"client.address": "10.0.0.2", "network.peer.address": "10.0.0.2", "network.local.address": "10.0.0.1",
		"server.address": "shop.example", "server.port": int64(80), "network.local.port": int64(80),
		"tls.protocol.name": "tls", "tls.protocol.version": "1.2", "tls.next_protocol": "h2",
		"tls.cipher": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "tls.resumed": false, "tls.established": true,
		"tls.client.ja3": "4826a90ec2daf4f7b4b64cc1c8bd343b", "tcp.tls.client.ja4": "t13d1516h2_8daaf6152771_e5627efa2ab1",
		"tcp.tls.client.versions": []any{"1.3", "1.2"}, "tcp.tls.client.protocols": []any{"h2", "http/1.1"},
		"tcp.tls.duration": 0.005, "tcp.tls.answer.duration": 0.002, "tcp.tls.retried": true,
		"tcp.tls.alert": "unrecognized_name",
	} {
		require.Equal(t, want, got[key], key)
	}
	require.NotContains(t, got, "error.type")
	require.NotContains(t, got, "tcp.tls.ended_by")
	require.Equal(t, "tcp.server.tls.handshake 10.0.0.2:51234 -> 10.0.0.1:80 nginx[123] shop.example TLS 1.2 5ms", record.Body().Str())
	require.Equal(t, plog.SeverityNumberInfo, record.SeverityNumber())
}

// TestHandshakeBehindProxy: the client is the one that a trusted proxy names. What acts on
// addresses finds the socket's.
func TestHandshakeBehindProxy(t *testing.T) {
	trust, err := forwarded.NewTrust([]string{"10.0.0.2"})
	require.NoError(t, err)
	h := facttest.Handshake()
	h.Proxied = netip.MustParseAddrPort("[2001:db8::9]:4711")
	l := testLogs(allEvents())
	require.True(t, l.Handshake(tlsview.New(tlsview.Options{Trust: trust}).Of(h), nil, owner.None))
	record := single(t, l.Take())
	got := record.Attributes().AsRaw()
	require.Equal(t, "2001:db8::9", got["client.address"])
	require.EqualValues(t, 4711, got["client.port"])
	require.Equal(t, "10.0.0.2", got["network.peer.address"])
	require.EqualValues(t, 51234, got["network.peer.port"])
	require.Equal(t, "ipv4", got["network.type"])
}

func TestFailedHandshakeRecord(t *testing.T) {
	h := failedHandshake(tls.OutcomeAlert, tls.SideServer)
	h.Hello.Name, h.Hello.Protocols = nil, nil
	record := handshakeRecord(t, h)
	got := record.Attributes().AsRaw()
	require.Equal(t, "unrecognized_name", got["error.type"])
	require.Equal(t, "server", got["tcp.tls.ended_by"])
	require.Equal(t, false, got["tls.established"])
	for _, key := range []string{"server.address", "tls.cipher", "tls.resumed", "tcp.tls.client.protocols", "tcp.tls.answer.duration"} {
		require.NotContains(t, got, key)
	}
	require.Equal(t, plog.SeverityNumberWarn, record.SeverityNumber())
}

// TestHandshakeOfUnknownEnd: nothing says how it ended.
func TestHandshakeOfUnknownEnd(t *testing.T) {
	got := handshakeRecord(t, failedHandshake(tls.OutcomeUnknown, tls.SideUnknown)).Attributes().AsRaw()
	for _, key := range []string{"tls.established", "error.type", "tcp.tls.duration", "tcp.tls.ended_by"} {
		require.NotContains(t, got, key)
	}
}

// TestHostileHandshake: what a client offers can harm nobody, and its lists are bounded.
func TestHostileHandshake(t *testing.T) {
	h := facttest.Handshake()
	h.Hello.Name = []byte(facttest.Hostile)
	h.Hello.Protocols = bytes.Repeat(append([]byte{byte(len(facttest.Hostile))}, facttest.Hostile...), 1000)
	h.Hello.Versions = bytes.Repeat([]byte{9, 9}, 1000)
	h.Protocol = []byte(facttest.Hostile)
	got := handshakeRecord(t, h).Attributes().AsRaw()
	require.Len(t, got["tcp.tls.client.protocols"], tlsview.MaxOffers)
	require.Len(t, got["tcp.tls.client.versions"], tlsview.MaxOffers)
	require.Equal(t, "0x0909", got["tcp.tls.client.versions"].([]any)[0])
	for _, key := range []string{"server.address", "tls.next_protocol"} {
		require.NotContains(t, got[key], "\n")
	}
}

// BenchmarkHandshake measures a record, with its share of a batch.
func BenchmarkHandshake(b *testing.B) {
	l := New(metadata.DefaultLogsBuilderConfig(), Options{HostName: "web-1"})
	h, p := facttest.Handshake(), facttest.Process()
	viewer := tlsview.New(tlsview.Options{})
	b.ReportAllocs()
	for b.Loop() {
		l.Handshake(viewer.Of(h), p, owner.ByListener)
		if l.Len() == benchBatch {
			l.Take()
		}
	}
}
