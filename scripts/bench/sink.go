// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// acceptedRecords is the sink's only metric.
const acceptedRecords = "sink_log_records"

// sink is a gRPC server that takes whatever is exported to it, and counts log records.
// It decodes no more than that takes: it stands for a gateway on another host, and what
// it ran would be missing from the server that is measured.
type sink struct{ records atomic.Int64 }

// runSink plays the role until its input ends.
func runSink([]string) error {
	s := &sink{}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(sinkPort)))
	if err != nil {
		return fmt.Errorf("listen for exporters: %w", err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(undecoded{}), grpc.UnknownServiceHandler(s.export))
	failed := make(chan error)
	go func() { failed <- server.Serve(listener) }()
	go func() {
		failed <- http.ListenAndServe(net.JoinHostPort("127.0.0.1", strconv.Itoa(sinkTelemetryPort)), s)
	}()
	go func() { failed <- untilInputEnds() }()
	return <-failed
}

// export serves every method: all requests are taken, and an empty answer says so.
func (s *sink) export(_ any, stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	if method, _ := grpc.MethodFromServerStream(stream); method == "/opentelemetry.proto.collector.logs.v1.LogsService/Export" {
		n, err := countRecords(request)
		if err != nil {
			return err
		}
		s.records.Add(n)
	}
	return stream.SendMsg(&[]byte{})
}

// ServeHTTP tells the count as a collector would.
func (s *sink) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "%s %d\n", acceptedRecords, s.records.Load())
}

// undecoded is a codec for messages that stay bytes.
type undecoded struct{}

func (undecoded) Name() string { return "proto" }

func (undecoded) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*message.(*[]byte))}, nil
}

func (undecoded) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*[]byte) = data.Materialize()
	return nil
}

// countRecords counts the log records of an ExportLogsServiceRequest.
func countRecords(request []byte) (records int64, err error) {
	const resourceLogs, scopeLogs, logRecords = 1, 2, 2
	err = eachMessage(request, resourceLogs, func(resource []byte) error {
		return eachMessage(resource, scopeLogs, func(scope []byte) error {
			return eachMessage(scope, logRecords, func([]byte) error {
				records++
				return nil
			})
		})
	})
	return records, err
}

// eachMessage calls f with every field of that number.
func eachMessage(message []byte, number protowire.Number, f func([]byte) error) error {
	for len(message) > 0 {
		n, kind, tag := protowire.ConsumeTag(message)
		if tag < 0 {
			return protowire.ParseError(tag)
		}
		length := protowire.ConsumeFieldValue(n, kind, message[tag:])
		if length < 0 {
			return protowire.ParseError(length)
		}
		field := message[tag : tag+length]
		message = message[tag+length:]
		if n != number || kind != protowire.BytesType {
			continue
		}
		value, size := protowire.ConsumeBytes(field)
		if size < 0 {
			return errors.Join(fmt.Errorf("field %d", n), protowire.ParseError(size))
		}
		if err := f(value); err != nil {
			return err
		}
	}
	return nil
}
