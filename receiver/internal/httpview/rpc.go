// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/rpc"
)

// RPC is a remote procedure call.
type RPC struct {
	System string
	// Name is the method's name for metrics, or _OTHER.
	Name string
	// Method is the full name, redacted, for records; empty if unknown.
	Method []byte
	Code   rpc.Code
	// ErrorType is "" if the call did not fail.
	ErrorType string
	// FirstMessage is from the first byte of the request to the first byte of the answer's
	// content, in nanoseconds; 0 if unknown.
	FirstMessage int64
	// Timed is set if the duration belongs into the histogram.
	Timed bool
}

const (
	// maxMethods bounds the names of methods in metrics, which clients can choose.
	maxMethods = 256
	// MaxMethodBytes bounds one of them.
	MaxMethodBytes = 255
)

// rpcs reads remote procedure calls.
type rpcs struct {
	redact *privacy.Redactor
	// names are those of methods as metrics show them, by the name as sent. If they are
	// configured, no other is added.
	names      map[string]string
	configured bool
	text       []byte
	unlisted   privacy.List
	call       RPC
}

func newRPCs(methods []string, redact *privacy.Redactor) *rpcs {
	r := &rpcs{redact: redact, names: map[string]string{}, configured: len(methods) > 0}
	for _, method := range methods {
		r.names[method] = method
	}
	return r
}

// of returns the call that a request is; nil if it is none.
func (r *rpcs) of(view *View) *RPC {
	e := view.Exchange
	read, ok := rpc.Read(e)
	if !ok {
		return nil
	}
	_, timed := e.Duration()
	r.call = RPC{
		System: rpc.SystemGRPC, Name: r.name(read), Code: read.Code, ErrorType: view.ErrorType,
		Timed: timed && e.Status != 0,
	}
	if r.call.ErrorType == "" && read.Code.Failed() {
		r.call.ErrorType = read.Code.String()
	}
	if began := e.Answer.BodyBegan; began != 0 && e.Request.Began != 0 {
		r.call.FirstMessage = max(1, began-e.Request.Began)
	}
	return &r.call
}

// name is a method's name for metrics. Without configuration, only a server that answers with
// OK makes a name known: clients can send any.
func (r *rpcs) name(call rpc.Call) string {
	if len(call.Method) == 0 {
		return ""
	}
	if name, ok := r.names[string(call.Method)]; ok {
		return name
	}
	if r.configured || call.Code != rpc.CodeOK || len(r.names) >= maxMethods || len(call.Method) > MaxMethodBytes {
		return rpc.Other
	}
	r.unlisted.Reset()
	r.text = r.redact.Path(r.text[:0], call.Method, false, &r.unlisted)
	name := string(r.text)
	r.names[string(call.Method)] = name
	return name
}

// putRPC takes the method out of the redacted path.
func putRPC(view *View) {
	if view.RPC != nil && len(view.Path) > 1 && view.Path[0] == '/' {
		view.RPC.Method = view.Path[1:]
	}
}
