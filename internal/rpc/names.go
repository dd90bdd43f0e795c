// SPDX-License-Identifier: Apache-2.0

package rpc

import "slices"

// The names and values of OpenTelemetry's semantic conventions for remote procedure calls, as of
// version 1.43.0. They are release candidates there. All of them that the receiver uses are in
// this file, and a second time in the declaration.

// Attributes.
const (
	AttrSystemName         = "rpc.system.name"
	AttrMethod             = "rpc.method"
	AttrResponseStatusCode = "rpc.response.status_code"
)

// MetricServerCallDuration is the histogram of calls.
const MetricServerCallDuration = "rpc.server.call.duration"

// SystemGRPC is the value of rpc.system.name.
const SystemGRPC = "grpc"

// Other stands for methods in metrics that are not known, and for codes that gRPC does not have.
const Other = "_OTHER"

// Code is a status of gRPC. Its String is the value of rpc.response.status_code.
type Code int8

// Codes. CodeAbsent is that of a call whose answer has none, or was not seen. CodeOther is one
// that gRPC does not have.
const (
	CodeAbsent           Code = -2
	CodeOther            Code = -1
	CodeOK               Code = 0
	CodeUnknown          Code = 2
	CodeDeadlineExceeded Code = 4
	CodeUnimplemented    Code = 12
	CodeInternal         Code = 13
	CodeUnavailable      Code = 14
	CodeDataLoss         Code = 15
	// Codes is how many gRPC has.
	Codes = 17
)

func (c Code) String() string {
	switch {
	case c == CodeAbsent:
		return ""
	case c < 0 || c >= Codes:
		return Other
	}
	return names()[c]
}

func names() *[Codes]string {
	return &[...]string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
		"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	}
}

// CodeOf returns the code of a name.
func CodeOf(name string) (Code, bool) {
	i := slices.Index(names()[:], name)
	return Code(i), i >= 0
}

// Failed reports whether a server's call with this code counts as failed. The other codes say
// that the client asked for something it can't have.
func (c Code) Failed() bool {
	switch c {
	case CodeUnknown, CodeDeadlineExceeded, CodeUnimplemented, CodeInternal, CodeUnavailable, CodeDataLoss, CodeOther:
		return true
	default:
		return false
	}
}
