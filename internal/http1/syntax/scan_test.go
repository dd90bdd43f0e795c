// SPDX-License-Identifier: Apache-2.0

package syntax

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// heads are requests and answers, each with its end.
var heads = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"HEAD / HTTP/1.0\n\n",
	"GET /a b\n\n",
	"GET http://a\n\n",
	"GET a\n\n",
	"OPTIONS HTTP/1.1\n\n",
	"GET  \tHTTP/1.1\n\n",
	"GET /a \tHTTP/1.1\n\n",
	"GET /a\tHTTP/1.1\n\n",
	"GET /a HTTP/1.1 \t\r\r\n\n",
	"GET \r/ \n\n",
	" GET / HTTP/1.1\n\n",
	"G\rET / HTTP/1.1\n\n",
	"GET\r\n\r\n",
	"\x16\x03\x01\n\n",
	"POST / HTTP/1.1\r\ncontent-LENGTH:5\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length : 5 \r\n\r\n",
	"POST / HTTP/1.1\r\n Content-Length: 5\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length\r: 5\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length: 5, 6\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length: \r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length: 5,\r\n 5\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length: 5\r\n ,5\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length: 5\r\n \r\n 6\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length: 9223372036854775807\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length: 92233720368547758070\r\n\r\n",
	"POST / HTTP/1.1\r\nX: y\r\n Content-Length: 5\r\n\r\n",
	"POST / HTTP/1.1\r\nno field\r\n Content-Length: 5\r\n\r\n",
	"POST / HTTP/1.1\r\n:x\r\n Content-Length: 5\r\n\r\n",
	"POST / HTTP/1.1\r\n :x\r\n Content-Length: 5\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Lengthy: 5\r\nContent-Lengt: 6\r\nContent-Length x: 7\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked \r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: gzip,\r\n chunked\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: Identity\r\nContent-Length: 3\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: identity, identity\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked x\r\n\r\n",
	"POST / HTTP/1.1\r\nExpect: 100-continue\r\nUpgrade: a\r\nTE: x\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
	"HTTP/1.1  204\n\n",
	"HTTP/1.0 2000 x\n\n",
	"HTTP/1.1 099 x\n\n",
	"HTTP/1.1 20\n\n",
	"HTTP/2 200\nTransfer-Encoding: chunked\n\n",
	" HTTP/1.1 200\n\n",
	"HTTP/1.1\n\n",
}

// same fails if a Scan of a head in pieces differs from what Head reads of it at once.
func same(t *testing.T, head string, piece func(left int) int) {
	t.Helper()
	var request, answer Scan
	for rest := head; len(rest) > 0; {
		n := piece(len(rest))
		request.Read([]byte(rest[:n]))
		answer.Read([]byte(rest[:n]))
		rest = rest[n:]
	}
	var want, got Head
	ok := want.ParseRequest([]byte(head))
	line, _ := cutLine([]byte(head))
	for range 2 {
		require.Equal(t, ok, request.Request(&got), "%q is a request", head)
		if ok {
			// HasVersion does not know where the target begins.
			if !bytes.Contains(line, []byte(" \t")) {
				assert.Equal(t, HasVersion([]byte(head)), request.HasVersion(), "%q has a version", head)
			}
			assert.Equal(t, want.Version, got.Version, "%q", head)
			if len(want.Method) <= len(request.start.first) {
				assert.Equal(t, string(want.Method), string(got.Method), "%q", head)
			}
		}
		fields(t, head, &want, &got)
	}
	if len(line) > len(answer.start.first) {
		return
	}
	ok = want.ParseAnswer([]byte(head))
	for range 2 {
		require.Equal(t, ok, answer.Answer(&got), "%q is an answer", head)
		if ok {
			assert.Equal(t, want.Status, got.Status, "%q", head)
			assert.Equal(t, want.Version, got.Version, "%q", head)
			fields(t, head, &want, &got)
		}
	}
}

func fields(t *testing.T, head string, want, got *Head) {
	t.Helper()
	require.Equal(t, []any{want.Framing, want.Size, want.Upgrade, want.Expect}, []any{got.Framing, got.Size, got.Upgrade, got.Expect}, "%q", head)
}

func TestScan(t *testing.T) {
	for _, head := range heads {
		for piece := 1; piece <= len(head); piece++ {
			same(t, head, func(left int) int { return min(left, piece) })
		}
	}
}

// TestScanOfPart: the head of a client that closed early lacks its end.
func TestScanOfPart(t *testing.T) {
	for _, head := range heads {
		for n := range len(head) {
			same(t, head[:n], func(left int) int { return left })
		}
	}
}

func TestScanOfMixtures(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var b strings.Builder
		for range 1 + random.IntN(3) {
			head := heads[random.IntN(len(heads))]
			b.WriteString(head[random.IntN(len(head)):])
		}
		same(t, b.String(), func(left int) int { return 1 + random.IntN(left) })
	}
}

func FuzzScan(f *testing.F) {
	for i, head := range heads {
		f.Add([]byte(head), uint8(i))
	}
	f.Fuzz(func(t *testing.T, head []byte, piece uint8) {
		same(t, string(head), func(left int) int { return min(left, int(piece)+1) })
		equal(t, string(head))
	})
}

func TestScanStoresNothing(t *testing.T) {
	head := []byte(heads[0])
	var s Scan
	var h Head
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		s = Scan{}
		s.Read(head)
		s.Request(&h)
	}))
}
