// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
)

// frames writes HEADERS, and DATA unless it is empty.
func frames(encoder *hpack.Encoder, fields *bytes.Buffer, id uint32, data string, names ...string) string {
	fields.Reset()
	for i := 0; i < len(names); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: names[i], Value: names[i+1]})
	}
	var out bytes.Buffer
	framer := h2.NewFramer(&out, nil)
	_ = framer.WriteHeaders(h2.HeadersFrameParam{
		StreamID: id, BlockFragment: fields.Bytes(), EndHeaders: true, EndStream: data == "",
	})
	if data != "" {
		_ = framer.WriteData(id, true, []byte(data))
	}
	return out.String()
}

// TestProtocolsAreToldApart: HTTP/1 and HTTP/2 on one port, by what is said.
func TestProtocolsAreToldApart(t *testing.T) {
	w := newWire(Options{})
	w.send(0, "GET /one HTTP/1.1\r\nHost: a\r\n\r\n")
	w.send(1, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	w.fin(0)
	w.fin(1)

	var asked, answered bytes.Buffer
	client, server := hpack.NewEncoder(&asked), hpack.NewEncoder(&answered)
	for _, begins := range []bool{true, false} {
		w.known, w.begins = false, begins
		w.first = w.next
		hello := ""
		if begins {
			hello = frame.Preface
		}
		w.send(0, hello+frames(client, &asked, 1, "", ":method", "GET", ":path", "/two", ":scheme", "http"))
		w.send(1, frames(server, &answered, 1, "hello", ":status", "200"))
		w.fin(0)
		w.fin(1)
	}
	// The joined one has the path from a table that was not seen.
	assert.Equal(t, []string{"GET /one 200", "GET /two 200 0/5", "GET  200 0/5 cut"}, w.got)
	assert.Zero(t, w.table.Figures().Bytes)
}

// TestPrefaceInABody: what a body holds does not end its connection.
func TestPrefaceInABody(t *testing.T) {
	w := newWire(Options{})
	w.send(0, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\n")
	w.wanted[0] = w.next[0] // the body passes before the kernel side knows better
	w.send(0, frame.Preface+"0123456789")
	w.send(1, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	w.send(0, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
	w.send(1, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	w.fin(0)
	w.fin(1)
	assert.Equal(t, []string{"POST /up 200 34/0", "GET /next 200"}, w.got)
}

// TestPrefaceInPieces: the rest of the preface comes with the next segment.
func TestPrefaceInPieces(t *testing.T) {
	for cut := len("PRI * "); cut < len(frame.Preface); cut++ {
		w := newWire(Options{})
		var asked, answered bytes.Buffer
		w.send(0, frame.Preface[:cut])
		w.send(0, frame.Preface[cut:]+frames(hpack.NewEncoder(&asked), &asked, 1, "", ":method", "GET", ":path", "/two"))
		w.send(1, frames(hpack.NewEncoder(&answered), &answered, 1, "hello", ":status", "200"))
		assert.Equal(t, []string{"GET /two 200 0/5"}, w.got, cut)
	}
	// It is a method of HTTP/1, too, if nobody said otherwise.
	w := newWire(Options{})
	w.send(0, "PRI * HTTP/1.1\r\nHost: a\r\n\r\n")
	w.send(1, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
	assert.Equal(t, []string{"PRI * 400"}, w.got)
}

// TestHTTP2WithoutRoom: the loss is counted once, and the connection is left alone.
func TestHTTP2WithoutRoom(t *testing.T) {
	lost := 0
	options := Options{MaxBytes: 1000}
	options.Lost = func(reason Loss, n int) {
		assert.Equal(t, LossBudget, reason)
		lost += n
	}
	w := newWire(options)
	for range 5 {
		w.send(0, frame.Preface)
		w.send(1, "\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	}
	w.fin(0)
	assert.Equal(t, 1, lost)
	assert.Empty(t, w.got)
	assert.Zero(t, w.table.Figures().Connections)
}
