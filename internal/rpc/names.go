// SPDX-License-Identifier: Apache-2.0

package rpc

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
	switch c {
	case CodeAbsent:
		return ""
	case CodeOK:
		return "OK"
	case 1:
		return "CANCELLED"
	case CodeUnknown:
		return "UNKNOWN"
	case 3:
		return "INVALID_ARGUMENT"
	case CodeDeadlineExceeded:
		return "DEADLINE_EXCEEDED"
	case 5:
		return "NOT_FOUND"
	case 6:
		return "ALREADY_EXISTS"
	case 7:
		return "PERMISSION_DENIED"
	case 8:
		return "RESOURCE_EXHAUSTED"
	case 9:
		return "FAILED_PRECONDITION"
	case 10:
		return "ABORTED"
	case 11:
		return "OUT_OF_RANGE"
	case CodeUnimplemented:
		return "UNIMPLEMENTED"
	case CodeInternal:
		return "INTERNAL"
	case CodeUnavailable:
		return "UNAVAILABLE"
	case CodeDataLoss:
		return "DATA_LOSS"
	case 16:
		return "UNAUTHENTICATED"
	default:
		return Other
	}
}

// CodeOf returns the code of a name.
func CodeOf(name string) (Code, bool) {
	for code := range Code(Codes) {
		if code.String() == name {
			return code, true
		}
	}
	return CodeAbsent, false
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
