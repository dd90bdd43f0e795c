// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// Take is called with every request that is exported, "logs" or "metrics", undecoded. Its
// error is the answer.
type Take func(signal string, request []byte) error

// ServeExports takes OTLP over gRPC until stop is called. Requests stay bytes: a sink that
// decodes them on the host that is measured would be missing from it.
func ServeExports(listener net.Listener, take Take) (stop func(), failed <-chan error) {
	server := grpc.NewServer(grpc.ForceServerCodecV2(Undecoded{}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			var request []byte
			if err := stream.RecvMsg(&request); err != nil {
				return err
			}
			if err := take(signalOf(stream), request); err != nil {
				return err
			}
			return stream.SendMsg(&[]byte{})
		}))
	ended := make(chan error, 1)
	go func() {
		ended <- server.Serve(listener)
		close(ended)
	}()
	return server.Stop, ended
}

// signalOf is the signal whose service the call is to.
func signalOf(stream grpc.ServerStream) string {
	method, _ := grpc.MethodFromServerStream(stream)
	signal, found := strings.CutPrefix(method, "/opentelemetry.proto.collector.")
	if !found {
		return ""
	}
	signal, _, _ = strings.Cut(signal, ".")
	return signal
}

// Undecoded is a codec of gRPC for messages that stay bytes: each is a *[]byte.
type Undecoded struct{}

// Name implements encoding.CodecV2. Without protobuf, it has its name, because that is the default.
func (Undecoded) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (Undecoded) Marshal(message any) (mem.BufferSlice, error) {
	bytes, ok := message.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("not bytes but %T", message)
	}
	return mem.BufferSlice{mem.SliceBuffer(*bytes)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (Undecoded) Unmarshal(data mem.BufferSlice, message any) error {
	bytes, ok := message.(*[]byte)
	if !ok {
		return fmt.Errorf("not bytes but %T", message)
	}
	*bytes = data.Materialize()
	return nil
}
