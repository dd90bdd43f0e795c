// SPDX-License-Identifier: Apache-2.0

// Package tracecontext reads the trace context of a request: the header fields traceparent
// and tracestate of W3C Trace Context, levels 1 and 2.
package tracecontext

import (
	"encoding/hex"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// Flags of a trace. Others have no meaning yet and are cleared.
const (
	FlagSampled = 0x01
	// FlagRandom says that the trace id is random (level 2).
	FlagRandom = 0x02
)

// Context is the position of a request in its trace.
type Context struct {
	TraceID [16]byte
	SpanID  [8]byte
	Flags   byte
	// State is tracestate; empty without one, or if it is invalid.
	State []byte
}

// Sampled reports whether the caller may have recorded the trace.
func (c *Context) Sampled() bool { return c.Flags&FlagSampled != 0 }

// Fault says what is wrong with a trace context.
type Fault uint8

// Faults. A faulty traceparent is ignored, with tracestate. A faulty tracestate is ignored
// alone.
const (
	None Fault = iota
	// Repeated is more than one traceparent.
	Repeated
	// Malformed is a traceparent of another form or length.
	Malformed
	// Version is a traceparent of version ff, which is forbidden.
	Version
	// ZeroID is a trace id or span id of zeros only.
	ZeroID
	// State is a malformed tracestate.
	State
	Faults
)

func (f Fault) String() string {
	switch f {
	case Repeated:
		return "traceparent_repeated"
	case Malformed:
		return "traceparent_malformed"
	case Version:
		return "traceparent_version"
	case ZeroID:
		return "traceparent_zero"
	case State:
		return "tracestate_malformed"
	default:
		return ""
	}
}

// Parse reads the trace context from the fields of a request. It reports false if there is
// none, or if traceparent is faulty. State is in buffer if there are several tracestate
// fields, else in the field's memory.
func Parse(fields []request.Field, buffer []byte) (Context, bool, Fault) {
	var context Context
	parent, fault := only(fields)
	if parent == nil || fault != None {
		return context, false, fault
	}
	if fault = context.parseParent(parent); fault != None {
		return Context{}, false, fault
	}
	state := joined(fields, buffer)
	if !validState(state) {
		return context, true, State
	}
	context.State = state
	return context, true, None
}

// only is the value of the only traceparent, never nil if there is one.
func only(fields []request.Field) ([]byte, Fault) {
	var found []byte
	for i := range fields {
		if !request.EqualFold(fields[i].Name, "traceparent") {
			continue
		}
		if found != nil {
			return nil, Repeated
		}
		if found = fields[i].Value; found == nil {
			found = []byte{}
		}
	}
	return found, None
}

// Layout of traceparent: 00-<32 hex digits>-<16 hex digits>-<2 hex digits>.
const (
	atTrace   = 3
	atSpan    = atTrace + 33
	atFlags   = atSpan + 17
	parentLen = atFlags + 2
)

func (c *Context) parseParent(s []byte) Fault {
	if len(s) < parentLen || s[atTrace-1] != '-' || s[atSpan-1] != '-' || s[atFlags-1] != '-' {
		return Malformed
	}
	var version, flags [1]byte
	if !decode(version[:], s[:2]) {
		return Malformed
	}
	if version[0] == 0xff {
		return Version
	}
	// Later versions may append fields after a hyphen.
	if len(s) > parentLen && (version[0] == 0 || s[parentLen] != '-') {
		return Malformed
	}
	if !decode(c.TraceID[:], s[atTrace:atSpan-1]) || !decode(c.SpanID[:], s[atSpan:atFlags-1]) ||
		!decode(flags[:], s[atFlags:parentLen]) {
		return Malformed
	}
	if c.TraceID == [16]byte{} || c.SpanID == [8]byte{} {
		return ZeroID
	}
	c.Flags = flags[0] & (FlagSampled | FlagRandom)
	return None
}

// decode is hex.Decode of lower case digits only.
func decode(to, from []byte) bool {
	for _, c := range from {
		if 'A' <= c && c <= 'F' {
			return false
		}
	}
	n, err := hex.Decode(to, from)
	return err == nil && n == len(to)
}
