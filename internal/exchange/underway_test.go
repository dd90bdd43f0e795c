// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// TestUnderWay: a request is under way from its start line to the end of its answer, and to look
// at it changes nothing of what is reported.
func TestUnderWay(t *testing.T) {
	w := newWire(Options{})
	underWay := func(want ...string) {
		t.Helper()
		got := []string{}
		w.table.UnderWay(func(e *request.Exchange) {
			assert.Equal(t, w.on.Server, e.Server)
			got = append(got, line(e)+" "+string(e.Request.Field("x-forwarded-proto")))
		})
		assert.Equal(t, append([]string{}, want...), got)
	}
	underWay()
	w.send(stream.ToServer, "GET /a HT")
	underWay()
	w.send(stream.ToServer, "TP/1.1\r\nX-Forwarded-Proto: ht")
	underWay("GET /a 0 ")
	w.send(stream.ToServer, "tps\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
	underWay("GET /a 0 https", "POST /b 0 -1/0 ")
	w.send(stream.ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
	underWay("GET /a 0 https", "POST /b 0 -1/0 ")
	w.send(stream.ToClient, "cd")
	underWay("POST /b 0 -1/0 ")
	w.send(stream.ToServer, "abc")
	w.send(stream.ToClient, "HTTP/1.1 204 No Content\r\n\r\n")
	underWay()
	w.wants(t, "GET /a 200 0/4", "POST /b 204 3/0")
}

// active counts the requests that are under way.
func (t *Table) active() (n int) {
	t.UnderWay(func(*request.Exchange) { n++ })
	return n
}
