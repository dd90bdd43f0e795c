// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// recordedCloses is the sink's only metric.
const recordedCloses = "sink_recorded_closes"

// startSink runs what the agent sends to, beside the server.
func startSink(ctx context.Context, n *lab.Network) (*sink, error) {
	a, err := act(ctx, n.Server, "sink", n.Server4.String())
	if err != nil {
		return nil, err
	}
	return &sink{Actor: a, in: n.Server}, nil
}

// sink takes whatever is exported, in a process of its own, and counts the records of the
// web server's connections that closed; records of other servers arrive, too. It decodes
// no more than needed: it stands for a gateway on another host, and its CPU time would be
// missing from the server that is measured.
type sink struct {
	*lab.Actor
	in lab.Namespace
}

func (s *sink) close() error {
	s.End()
	return nil
}

// recorded is how many closes have arrived.
func (s *sink) recorded(ctx context.Context) (float64, error) {
	all, err := s.in.Scrape(ctx, sinkTelemetryPort)
	if err != nil {
		return 0, err
	}
	for _, m := range all {
		if m.Name == recordedCloses {
			return m.Value, nil
		}
	}
	return 0, fmt.Errorf("the sink has no metric %s", recordedCloses)
}

// playSink is the role; its argument is the web server's address.
func playSink(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: sink ADDRESS")
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(sinkPort)))
	if err != nil {
		return fmt.Errorf("listen for exporters: %w", err)
	}
	var closes atomic.Int64
	_, failed := lab.ServeExports(listener, func(signal string, request []byte) error {
		if signal != "logs" {
			return nil
		}
		n, err := countCloses(request, args[0])
		closes.Add(n)
		return err
	})
	ended := make(chan error, 2)
	go func() { ended <- <-failed }()
	go func() {
		ended <- http.ListenAndServe(net.JoinHostPort("127.0.0.1", strconv.Itoa(sinkTelemetryPort)),
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, "%s %d\n", recordedCloses, closes.Load())
			}))
	}()
	go func() { ended <- lab.UntilInputEnds() }()
	return <-ended
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
