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
	server := grpc.NewServer(grpc.ForceServerCodecV2(undecoded{}),
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

// undecoded is a codec for messages that stay bytes.
type undecoded struct{}

func (undecoded) Name() string { return "proto" }

func (undecoded) Marshal(message any) (mem.BufferSlice, error) {
	bytes, ok := message.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("not bytes but %T", message)
	}
	return mem.BufferSlice{mem.SliceBuffer(*bytes)}, nil
}

func (undecoded) Unmarshal(data mem.BufferSlice, message any) error {
	bytes, ok := message.(*[]byte)
	if !ok {
		return fmt.Errorf("not bytes but %T", message)
	}
	*bytes = data.Materialize()
	return nil
}
