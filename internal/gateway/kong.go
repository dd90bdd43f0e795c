// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// Side says where an exchange was seen.
type Side uint8

// Sides.
const (
	// ClientSide is a request to the gateway. What it has in its head is the client's word,
	// so only the answer's fields are read.
	ClientSide Side = iota
	// UpstreamSide is a request from the gateway. Its head has the gateway's fields.
	UpstreamSide
)

// Value is an attribute with the value of the type that its field has. Text is as it was on
// the wire: it has not passed redaction.
type Value struct {
	Field Field
	Text  []byte
	Int   int64
	Float float64
	Bool  bool
}

// AppendKong appends what Kong's header fields say. What Kong was told not to send, and what
// is no number where one belongs, is absent. If a field is there twice, the last one counts:
// Kong sets its own behind what it passes on.
func AppendKong(dst []Value, e *request.Exchange, side Side) []Value {
	fields := e.Answer.Fields()
	if side == UpstreamSide {
		fields = e.Request.Fields()
	}
	start := len(dst)
	for i := range fields {
		field, ok := kongField(fields[i].Name, side)
		if !ok {
			continue
		}
		value, ok := parse(field, fields[i].Value)
		if !ok {
			continue
		}
		dst = put(dst, start, value)
	}
	return dst
}

// put appends a value, or replaces an earlier one of the same field.
func put(dst []Value, start int, value Value) []Value {
	for i := start; i < len(dst); i++ {
		if dst[i].Field == value.Field {
			dst[i] = value
			return dst
		}
	}
	return append(dst, value)
}

// kongField finds the field of a name on one side. Most names have other beginnings.
func kongField(name []byte, side Side) (Field, bool) {
	if len(name) < len("via") {
		return 0, false
	}
	switch name[0] | 0x20 {
	case 'x', 'v', 'r':
	default:
		return 0, false
	}
	from, to := RequestID, Fields
	if side == UpstreamSide {
		from, to = UserID, ConsumerAnonymous+1
		if request.EqualFold(name, RequestID.Header()) {
			return RequestID, true
		}
	}
	for field := from; field < to; field++ {
		if side == ClientSide && UserID <= field && field <= ConsumerAnonymous {
			continue // The upstream's answer may have them. Kong's does not.
		}
		if request.EqualFold(name, field.Header()) {
			return field, true
		}
	}
	return 0, false
}

func parse(field Field, raw []byte) (Value, bool) {
	value := Value{Field: field}
	if len(raw) == 0 {
		return value, false
	}
	if field == Version {
		value.Text = kongVersion(raw)
		return value, value.Text != nil
	}
	switch field.Type() {
	case Text:
		value.Text = raw
		return value, true
	case Bool:
		value.Bool = string(raw) == "true"
		return value, value.Bool || string(raw) == "false"
	}
	number, ok := parseNumber(raw)
	value.Int = number
	if field.Type() == Seconds {
		value.Int, value.Float = 0, float64(number)
		if field != RateReset && field != RetryAfter {
			value.Float /= 1000 // Kong has milliseconds.
		}
	}
	return value, ok
}

// parseNumber reads a number, also at the beginning of a list or before parameters.
func parseNumber(raw []byte) (int64, bool) {
	if i := bytes.IndexAny(raw, ",; "); i >= 0 {
		raw = raw[:i]
	}
	if len(raw) == 0 || len(raw) > 15 {
		return 0, false
	}
	var n int64
	for _, c := range raw {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// kongVersion finds kong/3.9.1 in Via: 1.1 kong/3.9.1. It is nil if there is another proxy.
func kongVersion(via []byte) []byte {
	const product = "kong/"
	for i := 0; i+len(product) < len(via); i++ {
		if !request.EqualFold(via[i:i+len(product)], product) || i > 0 && via[i-1] != ' ' && via[i-1] != ',' {
			continue
		}
		version := via[i+len(product):]
		if end := bytes.IndexAny(version, " ,;"); end >= 0 {
			version = version[:end]
		}
		if len(version) > 0 {
			return version
		}
	}
	return nil
}
