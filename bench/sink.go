// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
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

// recordedCloses is the sink's only metric.
const recordedCloses = "sink_recorded_closes"

// sink is a gRPC server that takes whatever is exported to it, and counts the records of
// the web server's connections that closed: those of others on this host come, too.
// It decodes no more than that takes: it stands for a gateway on another host, and what
// it ran would be missing from the server that is measured.
type sink struct{ closes atomic.Int64 }

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
		n, err := countCloses(request, serverAddress)
		if err != nil {
			return err
		}
		s.closes.Add(n)
	}
	return stream.SendMsg(&[]byte{})
}

// ServeHTTP tells the count as a collector would.
func (s *sink) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "%s %d\n", recordedCloses, s.closes.Load())
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

// countCloses counts the log records of an ExportLogsServiceRequest that tell of the
// close of a connection to a server at that address. It looks for their bytes, which
// takes a fraction of what decoding does.
func countCloses(request []byte, address string) (closes int64, err error) {
	const resourceLogs, scopeLogs, logRecords, eventName = 1, 2, 2, 12
	event := appendText(nil, eventName, "tcp.server.connection.close")
	server := newAttribute("server.address", address)
	err = eachMessage(request, resourceLogs, func(resource []byte) error {
		return eachMessage(resource, scopeLogs, func(scope []byte) error {
			return eachMessage(scope, logRecords, func(record []byte) error {
				if bytes.Contains(record, event) && server.in(record) {
					closes++
				}
				return nil
			})
		})
	})
	return closes, err
}

// attribute is the fields of a KeyValue that holds a string.
type attribute struct{ key, value []byte }

func newAttribute(key, value string) attribute {
	const keyField, valueField, stringValue = 1, 2, 1
	text := string(appendText(nil, stringValue, value)) // an AnyValue
	return attribute{appendText(nil, keyField, key), appendText(nil, valueField, text)}
}

// in tells whether a record has the attribute. Fields come in any order: pdata writes
// the value before the key.
func (a attribute) in(record []byte) bool {
	i := bytes.Index(record, a.key)
	return i >= 0 && (bytes.HasSuffix(record[:i], a.value) || bytes.HasPrefix(record[i+len(a.key):], a.value))
}

func appendText(message []byte, number protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(message, number, protowire.BytesType), text)
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
