// SPDX-License-Identifier: Apache-2.0

// Package facttest has facts for tests, and checks that tests of log records and of series share.
package facttest

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

var update = flag.Bool("update", false, "write the golden files")

// OwnNetNS is the host's network namespace in the tests.
const OwnNetNS = 4026531840

// Epoch is when the tests' facts begin, in 2026.
const Epoch = 1_772_000_000_000_000_000

// Clock is the tests' clock.
func Clock() time.Time { return time.Unix(0, Epoch+10e9) }

// Flow is over IPv4.
func Flow() flow.Flow {
	return flow.Flow{
		Client: netip.MustParseAddrPort("10.0.0.2:51234"),
		Server: netip.MustParseAddrPort("10.0.0.1:80"),
	}
}

// Flow6 is over IPv6.
func Flow6() flow.Flow {
	return flow.Flow{
		Client: netip.MustParseAddrPort("[2001:db8::2]:51234"),
		Server: netip.MustParseAddrPort("[2001:db8::1]:443"),
	}
}

// Connection has every optional member.
func Connection() connection.Connection {
	return connection.Connection{
		ID: 7<<19 | 1023<<3, Flow: Flow(), NetNS: OwnNetNS, Interface: "eth0",
		Opened: Epoch, Accept: 40_000, HandshakeRTT: 310, Handshake: 310, Adopted: true, MPTCP: true,
	}
}

// Opened is the opening of Connection.
func Opened() *connection.Opened {
	return &connection.Opened{Connection: Connection()}
}

// Closed is the end of Connection, a reset by its client.
func Closed() *connection.Closed {
	return &connection.Closed{
		Connection: Connection(),
		Counters: connection.Counters{
			ReceivedBytes: 73, TransmittedBytes: 850, ReceivedSegments: 6,
			TransmittedSegments: 5, Retransmits: 1, OutOfOrder: 2,
			SmoothedRTT: 305, MinRTT: 290,
		},
		Time:   Epoch + 12_345_678,
		Reason: connection.CloseClientReset,
	}
}

// Failed was refused.
func Failed() *connection.Failed {
	return &connection.Failed{
		Flow: Flow6(), Time: Epoch + 5e9, NetNS: OwnNetNS, Interface: "eth0",
		Type: connection.FailureRefused,
	}
}

// Packet is a malformed SYN-ACK.
func Packet() *packet.Packet {
	return &packet.Packet{
		Flow: Flow(), Time: Epoch + 1e9, NetNS: OwnNetNS, Interface: "eth0",
		Flags: 0x12, Length: 74, Payload: 0, Sequence: 4_000_000_000,
		Acknowledgment: 17, Window: 65535, Malformed: packet.TCPFlags,
		Options: []byte{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7},
	}
}

// Exchange is a request with its answer, with every optional member.
func Exchange() *request.Exchange {
	field := func(name, value string) request.Field {
		return request.Field{Name: []byte(name), Value: []byte(value)}
	}
	e := &request.Exchange{
		Connection: request.Connection{Flow: Flow(), NetNS: OwnNetNS, Interface: "eth0", ID: 7<<19 | 1023<<3},
		Version:    request.Version11,
		Method:     []byte("GET"),
		Target:     []byte("/users/42?page=2&token=secret"),
		Status:     503,
		Request: request.Message{
			Began: Epoch, Ended: Epoch + 1e6, HeadBytes: 120, BodyBytes: 5, HeadCut: true,
		},
		Answer: request.Message{
			Began: Epoch + 3e6, Ended: Epoch + 12e6, HeadBytes: 80, BodyBytes: 1000, HeadCut: true,
		},
		Finished:    Epoch + 12e6,
		Retransmits: 2,
		Overlapped:  3,
	}
	e.Request.SetFields(
		field("Host", "example.org:8080"), field("User-Agent", "curl/8.0"), field("X-Request-Id", "r1"),
		field("Authorization", "Bearer secret"),
	)
	e.Answer.SetFields(field("Content-Type", "text/plain"), field("Server", "nginx"))
	return e
}

// Call is a call to a language model with a stream for an answer. It has every optional member.
func Call() *request.Exchange {
	e := Exchange()
	e.Method, e.Target, e.Status = []byte("POST"), []byte("/v1/chat/completions"), 200
	e.Request.Body = []byte(`{"model":"m-1","stream":true,"messages":[{"role":"user","content":"secret prompt"}]}`)
	e.Request.BodyBytes = int64(len(e.Request.Body))
	e.Answer.SetFields(request.Field{Name: []byte("Content-Type"), Value: []byte("text/event-stream")})
	e.Answer.Body = []byte("data: {\"id\":\"c-1\",\"model\":\"m-1-2026\",\"choices\":[{\"delta\":{\"content\":\"secret answer\"}}]}\n\n")
	e.Answer.BodyCut = true
	e.Answer.BodyBegan = Epoch + 5e6
	e.Answer.Tail = []byte("swer\"}}]}\n\ndata: {\"id\":\"c-1\",\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12," +
		"\"completion_tokens\":34,\"prompt_tokens_details\":{\"cached_tokens\":5},\"completion_tokens_details\":{\"reasoning_tokens\":6}," +
		"\"cache_creation_input_tokens\":7}}\n\ndata: [DONE]\n\n")
	return e
}

// RPC is a call of gRPC that failed, with every optional member.
func RPC() *request.Exchange {
	e := Exchange()
	e.Version, e.Method, e.Target, e.Status = request.Version2, []byte("POST"), []byte("/shop.v1.Cart/Add"), 200
	e.Request.SetFields(request.Field{Name: []byte("content-type"), Value: []byte("application/grpc")})
	e.Answer.SetFields(request.Field{Name: []byte("content-type"), Value: []byte("application/grpc")})
	e.Answer.Trailers = []request.Field{
		{Name: []byte("grpc-status"), Value: []byte("14")}, {Name: []byte("grpc-message"), Value: []byte("secret")},
	}
	e.Answer.BodyBegan = Epoch + 4e6
	return e
}

// Process runs nginx in a pod.
func Process() *owner.Process {
	return &owner.Process{
		Key: owner.Key{PID: 123, Start: 5},
		Workload: &owner.Workload{
			Executable: "nginx",
			Container: owner.Container{
				ID:     "3f4c9d1e5b7a4f0f8a6d2c1b0e9f8a7d6c5b4a39281706f5e4d3c2b1a0f9e8d7",
				PodUID: "5a1f0c3e-8b2d-4e6f-9a7c-0d1e2f3a4b5c",
			},
		},
	}
}

// Golden compares JSON with a file of testdata.
func Golden(t *testing.T, name string, marshalled []byte, err error) {
	t.Helper()
	require.NoError(t, err)
	var got bytes.Buffer
	require.NoError(t, json.Indent(&got, marshalled, "", "  "))
	got.WriteByte('\n')
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
		require.Failf(t, "not as in "+file, "run the test with -update when this is intended (-want +got):\n%s", diff)
	}
}
