// SPDX-License-Identifier: Apache-2.0

package tls

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clientHello is what a client of Go sends, without the headers of record and message.
func clientHello(t testing.TB, config *tls.Config) []byte {
	near, far := net.Pipe()
	defer near.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tls.Client(far, config).HandshakeContext(ctx) }()
	sent := make([]byte, 64<<10)
	require.NoError(t, near.SetDeadline(time.Now().Add(time.Minute)))
	n, err := near.Read(sent)
	require.NoError(t, err)
	cancel()
	require.Error(t, <-ended)
	require.True(t, BeginsHello(sent[:n]))
	return sent[HeaderSize+MessageHeaderSize : n]
}

func offered(h *Hello) (names []string) {
	for name := range h.Protocol {
		names = append(names, string(name))
	}
	return names
}

func versions(h *Hello) (list []uint16) {
	for v := range h.OfferedVersion {
		list = append(list, v)
	}
	return list
}

func TestParseHelloOfGo(t *testing.T) {
	body := clientHello(t, &tls.Config{
		ServerName: "shop.example", NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12,
	})
	var h Hello
	require.True(t, ParseHello(body, &h))
	assert.Equal(t, "shop.example", string(h.Name))
	assert.Equal(t, []string{"h2", "http/1.1"}, offered(&h))
	assert.Equal(t, []uint16{tls.VersionTLS13, tls.VersionTLS12}, versions(&h))
	assert.Equal(t, uint16(tls.VersionTLS13), h.Highest())
	assert.Len(t, h.SessionID, 32)
	var f Fingerprints
	assert.Len(t, f.AppendJA3(nil, &h), JA3Size)
	ja4 := string(f.AppendJA4(nil, &h))
	assert.Len(t, ja4, JA4Size)
	assert.Equal(t, "t13d", ja4[:4])
	assert.Equal(t, "h2_", ja4[8:11])
}

func TestParseHelloCutAnywhere(t *testing.T) {
	body := clientHello(t, &tls.Config{ServerName: "shop.example", NextProtos: []string{"h2"}})
	bare := 2 + 32 + 1 + 32 + 2 // up to the list of ciphers
	bare += int(body[bare-2])<<8 | int(body[bare-1])
	bare += 2 // compression
	for n := range body {
		var h Hello
		assert.Equal(t, n == bare, ParseHello(body[:n], &h), "%d bytes", n)
	}
	var h Hello
	assert.False(t, ParseHello(append(body, 0), &h))
}

// hello builds the body of a ClientHello.
func hello(ciphers []byte, extensions ...[]byte) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, byte(len(ciphers)>>8), byte(len(ciphers)))
	body = append(append(body, ciphers...), 1, 0)
	var all []byte
	for _, e := range extensions {
		all = append(all, e...)
	}
	if len(all) == 0 {
		return body
	}
	return append(append(body, byte(len(all)>>8), byte(len(all))), all...)
}

func extension(kind uint16, data string) []byte {
	return append([]byte{byte(kind >> 8), byte(kind), byte(len(data) >> 8), byte(len(data))}, data...)
}

func TestNamesThatAreNone(t *testing.T) {
	for name, data := range map[string]string{
		"empty list":        "\x00\x00",
		"control character": "\x00\x04\x00\x00\x01\n",
		"slash":             "\x00\x06\x00\x00\x03a/b",
		"not UTF-8":         "\x00\x05\x00\x00\x02\xff\xfe",
		"other kind":        "\x00\x04\x07\x00\x01a",
	} {
		t.Run(name, func(t *testing.T) {
			var h Hello
			require.True(t, ParseHello(hello([]byte{0x13, 1}, extension(extensionName, data)), &h))
			assert.Nil(t, h.Name)
			assert.True(t, h.Named)
		})
	}
}

func TestMalformedHellos(t *testing.T) {
	for name, body := range map[string][]byte{
		"odd ciphers":      hello([]byte{1, 2, 3}),
		"name too long":    hello(nil, extension(extensionName, "\x00\x04\x00\x00\x09a")),
		"bytes after list": hello(nil, extension(extensionProtocols, "\x00\x03\x02h2x")),
		"empty protocol":   hello(nil, extension(extensionProtocols, "\x00\x01\x00")),
		"odd versions":     hello(nil, extension(extensionVersions, "\x03\x03\x04\x03")),
		"extension beyond": append(hello(nil), 0, 5, 0, 0, 0, 9, 1),
	} {
		t.Run(name, func(t *testing.T) {
			var h Hello
			assert.False(t, ParseHello(body, &h))
		})
	}
}

func TestGREASEIsLeftOut(t *testing.T) {
	plain := hello([]byte{0x13, 1, 0xc0, 0x2f},
		extension(extensionVersions, "\x02\x03\x04"), extension(extensionGroups, "\x00\x02\x00\x1d"),
		extension(extensionSignatures, "\x00\x02\x04\x03"))
	greased := hello([]byte{0x1a, 0x1a, 0x13, 1, 0xc0, 0x2f}, extension(0x2a2a, ""),
		extension(extensionVersions, "\x04\xfa\xfa\x03\x04"), extension(extensionGroups, "\x00\x04\x3a\x3a\x00\x1d"),
		extension(extensionSignatures, "\x00\x04\x4a\x4a\x04\x03"), extension(0xdada, "\x00"))
	var f Fingerprints
	var a, b Hello
	require.True(t, ParseHello(plain, &a))
	require.True(t, ParseHello(greased, &b))
	assert.Equal(t, string(f.AppendJA3(nil, &a)), string(f.AppendJA3(nil, &b)))
	assert.Equal(t, string(f.AppendJA4(nil, &a)), string(f.AppendJA4(nil, &b)))
	assert.Equal(t, []uint16{Version13}, versions(&b))
	assert.Equal(t, "t13i020300_", string(f.AppendJA4(nil, &b))[:11])
}

func TestJA4OfOddHellos(t *testing.T) {
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"nothing": {hello(nil), "t12i000000_000000000000_000000000000"},
		// The hexadecimal form of the name is ab…cd: its first and last characters count.
		"protocol of other bytes": {hello(nil, extension(extensionProtocols, "\x00\x03\x02\xab\xcd")), "t12i0001ad_000000000000_000000000000"},
		"protocol of one byte":    {hello(nil, extension(extensionProtocols, "\x00\x02\x01x")), "t12i0001xx_000000000000_000000000000"},
	} {
		t.Run(name, func(t *testing.T) {
			var h Hello
			var f Fingerprints
			require.True(t, ParseHello(c.body, &h))
			assert.Equal(t, c.want, string(f.AppendJA4(nil, &h)))
		})
	}
}

func TestFingerprintsDoNotAllocate(t *testing.T) {
	body := clientHello(t, &tls.Config{ServerName: "shop.example", NextProtos: []string{"h2"}})
	var f Fingerprints
	var h Hello
	to := make([]byte, 0, JA3Size+JA4Size)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		ParseHello(body, &h)
		to = f.AppendJA4(f.AppendJA3(to[:0], &h), &h)
	}))
}

func TestNames(t *testing.T) {
	assert.Equal(t, "TLS_AES_128_GCM_SHA256", CipherName(0x1301))
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		assert.Equal(t, suite.Name, CipherName(suite.ID))
	}
	assert.Empty(t, CipherName(0xffff))
	assert.Equal(t, "unrecognized_name", Alert(112).String())
	assert.Equal(t, "handshake_failure", Alert(40).String())
	assert.Empty(t, Alert(7).String())
	assert.Equal(t, "1.3", VersionName(tls.VersionTLS13))
	assert.Empty(t, VersionName(0x7f12))
}

func BenchmarkHello(b *testing.B) {
	body := clientHello(b, &tls.Config{ServerName: "shop.example", NextProtos: []string{"h2", "http/1.1"}})
	var f Fingerprints
	var h Hello
	to := make([]byte, 0, JA3Size+JA4Size)
	b.ReportAllocs()
	for b.Loop() {
		ParseHello(body, &h)
		to = f.AppendJA4(f.AppendJA3(to[:0], &h), &h)
	}
}
