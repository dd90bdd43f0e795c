// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	seen "github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// bodyOf is the handshake message in the first record of a client.
func bodyOf(t *testing.T, sent []byte) []byte {
	t.Helper()
	header, ok := seen.ParseHeader(sent)
	require.True(t, ok)
	require.Equal(t, uint8(seen.RecordHandshake), header.Type)
	return sent[seen.HeaderSize : seen.HeaderSize+header.Length]
}

// padded is a ClientHello with an extension of padding, so that its body has a size.
func padded(t *testing.T, message []byte, size int) []byte {
	t.Helper()
	body := bytes.Clone(message[seen.MessageHeaderSize:])
	n := size - len(body) - 4
	require.GreaterOrEqual(t, n, 0)
	at := 2 + 32
	at += 1 + int(body[at])
	at += 2 + int(binary.BigEndian.Uint16(body[at:]))
	at += 1 + int(body[at])
	extensions := len(body) - at - 2 + 4 + n
	require.Less(t, extensions, 1<<16)
	binary.BigEndian.PutUint16(body[at:], uint16(extensions))
	body = binary.BigEndian.AppendUint16(body, 21)
	body = binary.BigEndian.AppendUint16(body, uint16(n))
	body = append(body, make([]byte, n)...)
	return append([]byte{seen.MessageClientHello, byte(size >> 16), byte(size >> 8), byte(size)}, body...)
}

// records puts a message into records of at most size bytes.
func records(message []byte, size int) (sent []byte) {
	for len(message) > 0 {
		n := min(size, len(message))
		sent = append(sent, seen.RecordHandshake, 3, 1, byte(n>>8), byte(n))
		sent = append(sent, message[:n]...)
		message = message[n:]
	}
	return sent
}

// TestHostileHellos: hellos of up to 64 KiB are read, in whatever records and segments they
// come. A larger one is no hello, and costs nothing.
func TestHostileHellos(t *testing.T) {
	p := trusting(t, tls.VersionTLS13)
	message := bodyOf(t, talk(t, p)[0].data)
	refusal := said{from: stream.ToClient, data: []byte("\x15\x03\x03\x00\x02\x02\x28")}
	for name, c := range map[string]struct {
		hello   []byte
		record  int
		segment int
		read    bool
	}{
		"records of one byte":                   {message, 1, 1400, true},
		"records and segments of one byte":      {message, 1, 1, true},
		"60 KiB":                                {padded(t, message, 60<<10), 16 << 10, 1400, true},
		"60 KiB in records of one byte":         {padded(t, message, 60<<10), 1, 1400, true},
		"60 KiB in segments of one byte":        {padded(t, message, 60<<10), 16 << 10, 1, true},
		"as large as its lists can be":          {padded(t, message, 65535), 16 << 10, 1400, true},
		"more than 64 KiB announced, not sent":  {[]byte{1, 1, 0, 1, 3, 3}, 16 << 10, 1400, false},
		"16 MiB announced, and 128 KiB of them": {append([]byte{1, 0xff, 0xff, 0xff}, make([]byte, 128<<10)...), 16 << 10, 1400, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire()
			sent := said{from: stream.ToServer, data: records(c.hello, c.record)}
			w.say(&sent, func() int { return c.segment })
			assert.LessOrEqual(t, w.pool.Lent(), 256<<10)
			w.say(&refusal, func() int { return 1 << 20 })
			w.say(&said{from: stream.ToClient, fin: true}, nil)
			require.Len(t, w.got, 1)
			assert.Equal(t, c.read, w.got[0].Offered)
			if c.read {
				assert.Equal(t, "shop.example", w.got[0].name)
				assert.Len(t, w.got[0].ja4, seen.JA4Size)
			}
			assert.Equal(t, "handshake_failure", w.got[0].ErrorType())
			w.close(t)
		})
	}
}

// TestNameThatIsNone: what is no name of a host is not reported as one, and the fingerprints are.
func TestNameThatIsNone(t *testing.T) {
	message := bodyOf(t, talk(t, trusting(t, tls.VersionTLS13))[0].data)
	for _, name := range []string{"shop\nexample", "shop/example", "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5\xf4", "\xe2\x80\xaeelpmaxepo", "192.0.2.1 ? "} {
		require.Len(t, name, len("shop.example"), "the message keeps its lengths")
		w := newWire()
		changed := bytes.Replace(message, []byte("shop.example"), []byte(name), 1)
		w.say(&said{from: stream.ToServer, data: records(changed, 16<<10)}, func() int { return 1400 })
		w.say(&said{from: stream.ToServer, fin: true}, nil)
		require.Len(t, w.got, 1)
		assert.Empty(t, w.got[0].name)
		assert.True(t, w.got[0].Offered)
		assert.Equal(t, byte('d'), w.got[0].ja4[3], "the extension is there")
		w.close(t)
	}
}
