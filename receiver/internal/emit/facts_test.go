// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

var update = flag.Bool("update", false, "write the golden files anew")

// ownNetNS is the host's network namespace in the tests.
const ownNetNS = 4026531840

// epoch is when the tests' facts begin, in 2026.
const epoch = 1_772_000_000_000_000_000

func testClock() time.Time { return time.Unix(0, epoch+10e9) }

func testFlow() connection.Flow {
	return connection.Flow{
		Client: netip.MustParseAddrPort("10.0.0.2:51234"),
		Server: netip.MustParseAddrPort("10.0.0.1:80"),
	}
}

func testFlow6() connection.Flow {
	return connection.Flow{
		Client: netip.MustParseAddrPort("[2001:db8::2]:51234"),
		Server: netip.MustParseAddrPort("[2001:db8::1]:443"),
	}
}

func testConnection() connection.Connection {
	return connection.Connection{
		ID: 7<<19 | 1023<<3, Flow: testFlow(), NetNS: ownNetNS, Interface: "eth0",
		Opened: epoch, Accept: 40_000, HandshakeRTT: 310, Handshake: 310, Adopted: true, MPTCP: true,
	}
}

func testOpened() *connection.Opened {
	return &connection.Opened{Connection: testConnection()}
}

func testClosed() *connection.Closed {
	return &connection.Closed{
		Connection: testConnection(),
		Counters: connection.Counters{
			ReceivedBytes: 73, TransmittedBytes: 850, ReceivedSegments: 6,
			TransmittedSegments: 5, Retransmits: 1, OutOfOrder: 2,
			SmoothedRTT: 305, MinRTT: 290,
		},
		Time:   epoch + 12_345_678,
		Reason: connection.CloseClientReset,
	}
}

func testFailed() *connection.Failed {
	return &connection.Failed{
		Flow: testFlow6(), Time: epoch + 5e9, NetNS: ownNetNS, Interface: "eth0",
		Type: connection.FailureRefused,
	}
}

func testPacket() *packet.Packet {
	return &packet.Packet{
		Flow: testFlow(), Time: epoch + 1e9, NetNS: ownNetNS, Interface: "eth0",
		Flags: 0x12, Length: 74, Payload: 0, Sequence: 4_000_000_000,
		Acknowledgment: 17, Window: 65535, Malformed: packet.TCPFlags,
		Options: []byte{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7},
	}
}

func testProcess() *owner.Process {
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

// allEvents switches everything on.
func allEvents() metadata.LogsBuilderConfig {
	config := metadata.DefaultLogsBuilderConfig()
	config.Events.TCPServerConnectionOpen.Enabled = true
	return config
}

func testLogs(config metadata.LogsBuilderConfig) *Logs {
	return NewLogs(config, LogsOptions{HostName: "web-1", OwnNetNS: ownNetNS, Instance: "k7qw3zb2mdxa", Version: "1.2.3", Now: testClock})
}

// golden compares JSON with a file of testdata.
func golden(t *testing.T, name string, marshalled []byte, err error) {
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
	require.Equal(t, string(want), got.String(), "run the test with -update when this is intended")
}
