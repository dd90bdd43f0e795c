// SPDX-License-Identifier: Apache-2.0

package tls

import (
	"bytes"
	"crypto/tls"
	"testing"
)

// FuzzHello reads hellos of clients and servers. What is found must be a part of the message.
func FuzzHello(f *testing.F) {
	f.Add(clientHello(f, &tls.Config{ServerName: "shop.example", NextProtos: []string{"h2"}}))
	f.Add(hello([]byte{0x1a, 0x1a, 0x13, 1}, extension(extensionName, "\x00\x04\x00\x00\x01\n"), extension(0x2a2a, "")))
	f.Add(hello(nil, extension(extensionProtocols, "\x00\x03\x02\xab\xcd"), extension(extensionVersions, "\x04\xfa\xfa\x03\x04")))
	f.Add([]byte("\x03\x03" + retryRandom + "\x00\x13\x01\x00\x00\x06\x00\x2b\x00\x02\x03\x04"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var h Hello
		var prints Fingerprints
		if ParseHello(body, &h) {
			if n := len(prints.AppendJA3(nil, &h)); n != JA3Size {
				t.Fatalf("a JA3 of %d bytes", n)
			}
			if n := len(prints.AppendJA4(nil, &h)); n != JA4Size {
				t.Fatalf("a JA4 of %d bytes", n)
			}
		}
		total := 0
		for name := range h.Protocol {
			if len(name) == 0 {
				t.Fatal("a protocol without a name")
			}
			total += len(name)
		}
		if total > len(body) || !bytes.Contains(body, h.Name) || h.Name != nil && !isName(h.Name) {
			t.Fatalf("%d bytes of protocols, name %q", total, h.Name)
		}
		var a Answer
		if ParseAnswer(body, &a) && !bytes.Contains(body, a.Protocol) {
			t.Fatalf("protocol %q", a.Protocol)
		}
		if parsed, ok := ParseHeader(body); ok && !BeginsRecord(body) {
			t.Fatalf("the record %v begins with none", parsed)
		}
	})
}
