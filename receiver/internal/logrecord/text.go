// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// textChunk is how much text shares one allocation. It is small, because a consumer that keeps
// one string keeps the whole chunk.
const textChunk = 16 << 10

// text cuts strings out of shared chunks. Without it, bodies would be the only allocations of a
// record that pdata itself does not need.
type text struct {
	chunk *strings.Builder
}

func (t *text) add(b []byte) string {
	if t.chunk == nil || t.chunk.Cap()-t.chunk.Len() < len(b) {
		// The strings that were cut from a full chunk keep it.
		t.chunk = new(strings.Builder)
		t.chunk.Grow(max(textChunk, len(b)))
	}
	begin := t.chunk.Len()
	t.chunk.Write(b)
	return t.chunk.String()[begin:]
}

// span is the position of an address in a body.
type span struct{ begin, end int }

func (s span) of(body string) string { return body[s.begin:s.end] }

// appendEndpoint writes address:port, with brackets around IPv6.
func appendEndpoint(b []byte, endpoint netip.AddrPort) ([]byte, span) {
	address := endpoint.Addr()
	if !address.IsValid() {
		return append(b, '?'), span{}
	}
	if address.Is6() {
		b = append(b, '[')
	}
	at := span{begin: len(b)}
	b = address.AppendTo(b)
	at.end = len(b)
	if address.Is6() {
		b = append(b, ']')
	}
	b = append(b, ':')
	return strconv.AppendUint(b, uint64(endpoint.Port()), 10), at
}

// appendDuration writes whole microseconds, milliseconds or seconds.
func appendDuration(b []byte, nanoseconds int64) []byte {
	d := time.Duration(nanoseconds)
	switch {
	case d < time.Millisecond:
		return append(strconv.AppendInt(b, d.Microseconds(), 10), "µs"...)
	case d < 10*time.Second:
		return append(strconv.AppendInt(b, d.Milliseconds(), 10), "ms"...)
	default:
		return append(strconv.AppendInt(b, int64(d/time.Second), 10), 's')
	}
}

func appendBytes(b []byte, name string, n uint64) []byte {
	b = append(append(b, ' '), name...)
	b = strconv.AppendUint(append(b, '='), n, 10)
	return append(b, 'B')
}
