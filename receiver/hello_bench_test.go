// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package receiver

import (
	"context"
	gotls "crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// BenchmarkHello reads a hello of Go's client, with a post-quantum share, and computes JA3 and
// JA4. It is compared with building the record of its handshake out of constants.
func BenchmarkHello(b *testing.B) {
	hello := helloOfGo(b)
	var prints tls.Fingerprints
	var parsed tls.Hello
	text := make([]byte, 0, tls.JA3Size+tls.JA4Size)
	read := func() {
		for range replayed {
			tls.ParseHello(hello, &parsed)
			text = prints.AppendJA4(prints.AppendJA3(text[:0], &parsed), &parsed)
		}
	}
	var path, built []time.Duration
	for b.Loop() {
		path = append(path, cpuTime(read))
		built = append(built, cpuTime(bareHandshakes))
	}
	ratios := make([]float64, len(path))
	for i := range path {
		ratios[i] = float64(path[i]) / float64(built[i])
	}
	b.ReportMetric(0, "ns/op") // of a round; the figures below are of a hello
	b.ReportMetric(median(ratios), "x-bare")
	b.ReportMetric(float64(median(path).Nanoseconds())/replayed, "ns/hello")
	b.ReportMetric(float64(median(built).Nanoseconds())/replayed, "bare-ns/hello")
	b.ReportMetric(testing.AllocsPerRun(5, read)/replayed, "allocs/hello")
}

// helloOfGo is the body of the message.
func helloOfGo(b *testing.B) []byte {
	near, far := net.Pipe()
	defer near.Close()
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() {
		config := &gotls.Config{ServerName: "shop.example", NextProtos: []string{"h2", "http/1.1"}}
		ended <- gotls.Client(far, config).HandshakeContext(ctx)
	}()
	sent := make([]byte, 64<<10)
	require.NoError(b, near.SetDeadline(time.Now().Add(time.Minute)))
	n, err := near.Read(sent)
	require.NoError(b, err)
	cancel()
	require.Error(b, <-ended)
	return sent[tls.HeaderSize+tls.MessageHeaderSize : n]
}

// bareHandshakes builds as many records of constants, in batches of the same size.
func bareHandshakes() {
	var records plog.LogRecordSlice
	batch := createDefaultConfig().Batch.MaxRecords
	for i := range replayed {
		if i%batch == 0 {
			records = plog.NewLogs().ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
		}
		bareHandshake(records.AppendEmpty())
	}
}

func bareHandshake(record plog.LogRecord) {
	const at = 1_772_000_000_000_000_000
	record.SetTimestamp(at)
	record.SetObservedTimestamp(at)
	record.SetEventName("tcp.server.tls.handshake")
	record.SetSeverityNumber(plog.SeverityNumberInfo)
	record.SetSeverityText("INFO")
	record.Body().SetStr("tcp.server.tls.handshake 198.18.4.2:51234 -> 192.0.2.1:443 nginx[123] shop.example TLS 1.3 2ms")
	attributes := record.Attributes()
	attributes.EnsureCapacity(28)
	attributes.PutStr("client.address", "198.18.4.2")
	attributes.PutInt("client.port", 51234)
	attributes.PutStr("server.address", "shop.example")
	attributes.PutInt("server.port", 443)
	attributes.PutStr("network.peer.address", "198.18.4.2")
	attributes.PutInt("network.peer.port", 51234)
	attributes.PutStr("network.local.address", "192.0.2.1")
	attributes.PutInt("network.local.port", 443)
	attributes.PutStr("network.type", "ipv4")
	attributes.PutStr("network.transport", "tcp")
	attributes.PutStr("network.interface.name", "eth0")
	attributes.PutInt("process.pid", 123)
	attributes.PutStr("process.executable.name", "nginx")
	attributes.PutStr("tcp.owner.source", "acceptor")
	attributes.PutStr("tcp.connection.id", "k7qw3zb2mdxa-1l4k9")
	attributes.PutInt("tcp.netns.inode", 4026531840)
	attributes.PutBool("tls.established", true)
	attributes.PutStr("tls.protocol.name", "tls")
	attributes.PutStr("tls.protocol.version", "1.3")
	attributes.PutStr("tls.cipher", "TLS_AES_128_GCM_SHA256")
	attributes.PutBool("tls.resumed", false)
	attributes.PutStr("tls.client.ja3", "4826a90ec2daf4f7b4b64cc1c8bd343b")
	attributes.PutStr("tcp.tls.client.ja4", "t13d1516h2_8daaf6152771_e5627efa2ab1")
	attributes.PutDouble("tcp.tls.duration", 0.002)
	attributes.PutDouble("tcp.tls.answer.duration", 0.001)
	attributes.PutEmptySlice("tcp.tls.client.versions").AppendEmpty().SetStr("1.3")
	attributes.PutEmptySlice("tcp.tls.client.protocols").AppendEmpty().SetStr("h2")
}
