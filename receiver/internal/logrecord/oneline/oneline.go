// SPDX-License-Identifier: Apache-2.0

// Package oneline writes the parts of the short line that is the body of a record. Each function
// appends to a buffer.
package oneline

import (
	"net/netip"
	"strconv"
	"time"
)

// Span is the position of a part in a body.
type Span struct{ Begin, End int }

// Of returns the part.
func (s Span) Of(body string) string { return body[s.Begin:s.End] }

// Endpoint writes address:port, with brackets around IPv6.
func Endpoint(b []byte, endpoint netip.AddrPort) ([]byte, Span) {
	address := endpoint.Addr()
	if !address.IsValid() {
		return append(b, '?'), Span{}
	}
	if address.Is6() {
		b = append(b, '[')
	}
	at := Span{Begin: len(b)}
	b = address.AppendTo(b)
	at.End = len(b)
	if address.Is6() {
		b = append(b, ']')
	}
	b = append(b, ':')
	return strconv.AppendUint(b, uint64(endpoint.Port()), 10), at
}

// Duration writes whole microseconds, milliseconds or seconds.
func Duration(b []byte, nanoseconds int64) []byte {
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

// Bytes writes a number of bytes with its name.
func Bytes(b []byte, name string, n uint64) []byte {
	b = append(append(b, ' '), name...)
	b = strconv.AppendUint(append(b, '='), n, 10)
	return append(b, 'B')
}
