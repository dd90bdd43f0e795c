// SPDX-License-Identifier: Apache-2.0

// Package rpc reads what an exchange of HTTP/2 says of a remote procedure call. It knows gRPC.
package rpc

import "github.com/ebpftcp/ebpftcpreceiver/internal/request"

// Call is a call of gRPC. Method is a part of the exchange's target.
type Call struct {
	// Method is the full name, such as package.Service/Method; empty if unknown.
	Method []byte
	Code   Code
}

const (
	contentType = "application/grpc"
	statusField = "grpc-status"
)

// Read returns the call that an exchange is. It reports false if the exchange is none, or if
// nothing says so that was seen.
func Read(e *request.Exchange) (Call, bool) {
	if e.Version != request.Version2 {
		return Call{}, false
	}
	call := Call{Code: codeOf(&e.Answer)}
	if !isGRPC(e.Request.Field("content-type")) && !isGRPC(e.Answer.Field("content-type")) && call.Code == CodeAbsent {
		return Call{}, false
	}
	if len(e.Target) > 1 && e.Target[0] == '/' {
		call.Method = e.Target[1:]
	}
	return call, true
}

// isGRPC reports whether a content type is that of gRPC. The one of gRPC-Web, which has its
// status in the body, is not.
func isGRPC(value []byte) bool {
	if len(value) < len(contentType) || !request.EqualFold(value[:len(contentType)], contentType) {
		return false
	}
	return len(value) == len(contentType) || value[len(contentType)] == '+' || value[len(contentType)] == ';'
}

// codeOf reads the status of an answer. It is in the trailers, or in the head if the answer has
// no trailers.
func codeOf(answer *request.Message) Code {
	for i := len(answer.Trailers) - 1; i >= 0; i-- {
		if f := &answer.Trailers[i]; request.EqualFold(f.Name, statusField) {
			return parseCode(f.Value)
		}
	}
	if value := answer.Field(statusField); value != nil {
		return parseCode(value)
	}
	return CodeAbsent
}

// parseCode reads a code. Text that is no number of gRPC is CodeOther; none is CodeAbsent, for
// a field whose value was not seen.
func parseCode(text []byte) Code {
	if len(text) == 0 {
		return CodeAbsent
	}
	if len(text) > 2 {
		return CodeOther
	}
	code := 0
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			return CodeOther
		}
		code = 10*code + int(digit-'0')
	}
	if code >= Codes {
		return CodeOther
	}
	return Code(code)
}
