// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/rpcconv"
	library "google.golang.org/grpc/codes"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

func fields(pairs ...string) (all []request.Field) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, request.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return all
}

func TestCalls(t *testing.T) {
	grpc := fields("content-type", "application/grpc")
	for name, test := range map[string]struct {
		target          string
		version         request.Version
		request, answer []request.Field
		trailers        []request.Field
		want            string
		code            Code
		none            bool
	}{
		"answered":         {target: "/p.S/M", request: grpc, answer: grpc, trailers: fields("grpc-status", "0"), want: "p.S/M", code: CodeOK},
		"failed":           {target: "/p.S/M", request: grpc, answer: grpc, trailers: fields("grpc-message", "x", "grpc-status", "14"), want: "p.S/M", code: CodeUnavailable},
		"trailers only":    {target: "/p.S/M", request: grpc, answer: fields("content-type", "application/grpc", "grpc-status", "12"), want: "p.S/M", code: CodeUnimplemented},
		"without status":   {target: "/p.S/M", request: grpc, answer: grpc, want: "p.S/M", code: CodeAbsent},
		"form of messages": {target: "/S/M", request: fields("content-type", "Application/gRPC+proto"), want: "S/M", code: CodeAbsent},
		"parameter":        {target: "/S/M", request: fields("content-type", "application/grpc; x=y"), want: "S/M", code: CodeAbsent},
		"request not seen": {answer: grpc, trailers: fields("grpc-status", "0"), code: CodeOK},
		"only the status":  {target: "/S/M", trailers: fields("grpc-status", "5"), want: "S/M", code: 5},
		"value not seen":   {target: "/S/M", request: grpc, trailers: fields("grpc-status", ""), want: "S/M", code: CodeAbsent},
		"beyond the codes": {target: "/S/M", request: grpc, trailers: fields("grpc-status", "17"), want: "S/M", code: CodeOther},
		"no number":        {target: "/S/M", request: grpc, trailers: fields("grpc-status", "-1"), want: "S/M", code: CodeOther},
		"long":             {target: "/S/M", request: grpc, trailers: fields("grpc-status", "00000000000000000000"), want: "S/M", code: CodeOther},
		"gRPC-Web":         {target: "/S/M", request: fields("content-type", "application/grpc-web+proto"), none: true},
		"HTTP/1":           {target: "/S/M", version: request.Version11, request: grpc, none: true},
		"another type":     {target: "/", request: fields("content-type", "application/json"), none: true},
		"nothing was seen": {none: true},
	} {
		e := &request.Exchange{Version: request.Version2, Target: []byte(test.target)}
		if test.version != 0 {
			e.Version = test.version
		}
		e.Request.SetFields(test.request...)
		e.Answer.SetFields(test.answer...)
		e.Answer.Trailers = test.trailers
		call, ok := Read(e)
		require.Equal(t, !test.none, ok, name)
		if ok {
			assert.Equal(t, test.want, string(call.Method), name)
			assert.Equal(t, test.code, call.Code, name)
		}
	}
}

// TestCodesAreThoseOfGRPC holds the names to the library's, and says which codes are failures.
func TestCodesAreThoseOfGRPC(t *testing.T) {
	failed := []string{}
	for code := range Code(library.Unauthenticated) + 1 {
		var of library.Code
		require.NoError(t, of.UnmarshalJSON([]byte(`"`+code.String()+`"`)))
		require.Equal(t, uint32(code), uint32(of))
		if code.Failed() {
			failed = append(failed, code.String())
		}
	}
	assert.Equal(t, []string{"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}, failed)
	assert.Equal(t, []string{"_OTHER", "", "_OTHER"}, []string{CodeOther.String(), CodeAbsent.String(), Code(17).String()})
	assert.True(t, CodeOther.Failed())
	assert.False(t, CodeAbsent.Failed())
}

func TestNamesAreThoseOfTheConventions(t *testing.T) {
	assert.Equal(t, string(semconv.RPCSystemNameKey), AttrSystemName)
	assert.Equal(t, string(semconv.RPCMethodKey), AttrMethod)
	assert.Equal(t, string(semconv.RPCResponseStatusCodeKey), AttrResponseStatusCode)
	assert.Equal(t, semconv.RPCSystemNameGRPC.Value.AsString(), SystemGRPC)
	assert.Equal(t, rpcconv.ServerCallDuration{}.Name(), MetricServerCallDuration)
}

func TestReadAllocatesNothing(t *testing.T) {
	e := &request.Exchange{Version: request.Version2, Target: []byte("/p.S/M")}
	e.Request.SetFields(fields("content-type", "application/grpc")...)
	e.Answer.Trailers = fields("grpc-status", "0")
	assert.Zero(t, testing.AllocsPerRun(100, func() { Read(e) }))
}
