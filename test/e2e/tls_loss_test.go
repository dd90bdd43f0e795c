// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// TestTLSAfterClearText: handshakes that follow a dialogue in clear text, as OpenSSL's client
// has it with servers of mail and of PostgreSQL.
func TestTLSAfterClearText(t *testing.T) {
	b := startTLS(t, "")
	protocols := []string{"smtp", "imap", "postgres"}
	for i, protocol := range protocols {
		b.server.act(t, "cleartext", protocol, fmt.Sprintf(":%d", tlsMail+i), b.folder).ready(t)
	}
	for i, protocol := range protocols {
		for _, version := range []string{"1.2", "1.3"} {
			b.try(t, b.client, "hello\n", "openssl", "s_client", "-starttls", protocol, "-tls1_"+version[2:], "-quiet", "-no_ign_eof",
				"-connect", fmt.Sprintf("%s:%d", b.At(tlsPort).Addr(), tlsMail+i), "-servername", protocol+version+".example")
		}
	}
	number := 2 * len(protocols)
	books := b.agent.balance(func(l lab.Ledger) bool { return l["handshake"].Produced >= float64(number) })
	assert.Empty(t, losses(books))
	assert.EqualValues(t, number, books["handshake"].Delivered)
	b.agent.stop()
	b.out.stop()
	for i, protocol := range protocols {
		for _, version := range []string{"1.2", "1.3"} {
			records := b.out.records(t, func(r record) bool { return r.values["server.address"] == protocol+version+".example" })
			require.Len(t, records, 1, protocol+version)
			assert.Equal(t, version, records[0].values["tls.protocol.version"])
			assert.Equal(t, true, records[0].values["tls.established"], "%v", records[0].values)
			assert.EqualValues(t, tlsMail+i, records[0].values["server.port"])
		}
	}
}

// TestTLSNeverAnothersValues loses segments of handshakes, on the wire and before user space, whose
// reader stands still meanwhile. Each record has the values of its own handshake, and the books have
// what was lost.
func TestTLSNeverAnothersValues(t *testing.T) {
	const number = 120
	for _, test := range []struct {
		name string
		ring int
		drop int
	}{{name: "least ring", ring: 4096}, {name: "ring", ring: 65536}, {name: "wire", drop: 3}} {
		t.Run(test.name, func(t *testing.T) {
			more := ""
			if test.ring > 0 {
				more = fmt.Sprintf("    limits: {inspect_ring_bytes: %d}\n", test.ring)
			}
			b := startTLS(t, more)
			shake := func(first, number int) (done []greeting) {
				client := b.client.act(t, "handshakes", b.At(tlsPort).String(), fmt.Sprint(first), fmt.Sprint(number))
				require.NoError(t, client.Result(&done))
				require.Len(t, done, number)
				return done
			}
			if test.drop > 0 {
				b.server.drop(t, tlsPort, test.drop)
				b.client.drop(t, tlsPort, test.drop)
			}
			var done []greeting
			if test.ring > 0 {
				b.agent.holding(func() { done = shake(0, number) })
			}
			done = append(done, shake(number, number)...)
			for i := range 20 { // one after the other, so that the least ring has room
				done = append(done, shake(2*number+i, 1)...)
			}
			books := b.agent.balance(func(l lab.Ledger) bool {
				return l["handshake"].Queued == 0 && l["handshake"].Produced > 0 && l["segment"].Queued == 0
			})
			b.agent.stop()
			b.out.stop()
			ports := map[any]int{}
			for _, g := range done {
				ports[g.Name] = g.Port
			}
			records := b.out.records(t, func(r record) bool { return r.event == handshakeEvent })
			whole := 0
			for _, r := range records {
				name, _ := r.values["server.address"].(string)
				if name == "" || ports[name] == 0 {
					continue
				}
				require.EqualValues(t, ports[name], r.values["client.port"], "of another client: %v", r.values)
				delete(ports, name)
				if version := r.values["tls.protocol.version"]; version != nil {
					require.Equal(t, "1."+strings.TrimPrefix(name, "v1")[:1], version, "of another server's hello: %v", r.values)
					whole++
				}
			}
			lost := losses(books)[[3]string{"segment", "ring", "full"}]
			t.Logf("%d records of %d handshakes, %d with the server's hello, segments %v of %v lost", len(records), len(done), whole,
				lost, books["segment"].Produced)
			if test.ring > 0 {
				assert.Greater(t, lost, float64(number), "each handshake behind the first ones has several segments")
				assert.Less(t, len(records), len(done))
				assert.Positive(t, whole)
			} else {
				assert.Greater(t, whole, number/2)
			}
		})
	}
}
