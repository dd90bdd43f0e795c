// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// ownCapture is made by this test: go test -tags privileged -run TCOwnCapture -update-capture.
const ownCapture = "../../../testdata/packets/segments.pcap"

var updateCapture = flag.Bool("update-capture", false, "write "+ownCapture+" again")

// seen is a segment in tshark's words.
type seen struct {
	source, destination     netip.AddrPort
	seq, ack, window, flags string
	payload, options        string
}

// TestTCAgreesWithTshark compares packet by packet, with every port listening.
func TestTCAgreesWithTshark(t *testing.T) {
	captures := []string{ownCapture}
	if folder := os.Getenv("EBPF_TCP_PCAPS"); folder != "" {
		found, err := filepath.Glob(filepath.Join(folder, "*", "*.pcap*"))
		require.NoError(t, err)
		captures = append(captures, found...)
		require.Greater(t, len(captures), 1, "EBPF_TCP_PCAPS has no folders with captures")
	} else {
		t.Log("EBPF_TCP_PCAPS unset: only the project's own capture is read")
	}
	total := 0
	for _, capture := range captures {
		t.Run(filepath.Base(capture), func(t *testing.T) {
			wants := tsharkView(t, capture)
			frames := readCapture(t, capture)
			require.Len(t, wants, len(frames))
			b := newBench(t, config())
			require.NoError(t, shared.WriteAt(b.ports, 1, bytes.Repeat([]byte{1}, shared.PortTableSize-1)))
			segments := 0
			for n, frame := range frames {
				b.run("tc_ingress_eth", frame)
				record := b.packet()
				if wants[n] == nil {
					assert.Nilf(t, record, "frame %d is no segment", n+1)
					continue
				}
				segments++
				if assert.NotNilf(t, record, "frame %d", n+1) {
					got := asSeen(record)
					// In a first fragment tshark does not know the segment's length.
					wants[n].payload = cmp.Or(wants[n].payload, got.payload)
					assert.Equalf(t, wants[n], got, "frame %d", n+1)
				}
			}
			total += segments
			t.Logf("%d frames, %d segments", len(frames), segments)
		})
	}
	assert.Positive(t, total)
}

func asSeen(r *shared.PacketRecord) *seen {
	f := record.Flow(&r.Flow)
	return &seen{
		source: f.Client, destination: f.Server,
		seq: fmt.Sprint(r.Sequence), ack: fmt.Sprint(r.Acknowledgment), window: fmt.Sprint(r.Window),
		flags:   fmt.Sprintf("0x%04x", uint(r.Reserved)<<8|uint(r.Flags)),
		payload: fmt.Sprint(r.Payload),
		options: hex.EncodeToString(r.Options[:r.OptionsLen]),
	}
}

// tsharkView has an element per frame, nil where tshark sees no TCP.
func tsharkView(t *testing.T, capture string) []*seen {
	t.Helper()
	args := []string{"-n", "-r", capture, "-T", "fields", "-E", "occurrence=f", "-E", "separator=/t"}
	for _, off := range []string{
		"ip.defragment", "ipv6.defragment", "tcp.desegment_tcp_streams",
		"tcp.relative_sequence_numbers", "tcp.analyze_sequence_numbers",
	} {
		args = append(args, "-o", off+":FALSE")
	}
	fields := []string{
		"ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "tcp.seq_raw",
		"tcp.ack_raw", "tcp.window_size_value", "tcp.flags", "tcp.len", "tcp.options",
	}
	for _, field := range fields {
		args = append(args, "-e", field)
	}
	var stderr bytes.Buffer
	command := exec.Command("tshark", args...)
	command.Stderr = &stderr
	out, err := command.Output()
	require.NoErrorf(t, err, "tshark: %s", stderr.String())
	var view []*seen
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, f, len(fields))
		if f[4] == "" {
			view = append(view, nil)
			continue
		}
		view = append(view, &seen{
			source:      netip.MustParseAddrPort(withPort(f[0]+f[2], f[4])),
			destination: netip.MustParseAddrPort(withPort(f[1]+f[3], f[5])),
			seq:         f[6], ack: f[7], window: f[8], flags: f[9], payload: f[10], options: f[11],
		})
	}
	return view
}

func withPort(address, port string) string {
	if strings.Contains(address, ":") {
		return "[" + address + "]:" + port
	}
	return address + ":" + port
}

type packetReader interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

func readCapture(t *testing.T, name string) [][]byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	require.NoError(t, err)
	var reader packetReader
	if reader, err = pcapgo.NewReader(bytes.NewReader(raw)); err != nil {
		reader, err = pcapgo.NewNgReader(bytes.NewReader(raw), pcapgo.DefaultNgReaderOptions)
	}
	require.NoError(t, err)
	var link []byte
	switch reader.LinkType() {
	case layers.LinkTypeEthernet:
	case layers.LinkTypeRaw, 12: // bare IP: TEST_RUN wants Ethernet all the same
		link = make([]byte, 14)
	default:
		require.Failf(t, "unknown link type", "%d", reader.LinkType())
	}
	var frames [][]byte
	for {
		frame, _, err := reader.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return frames
		}
		require.NoError(t, err)
		if link != nil {
			binary.BigEndian.PutUint16(link[12:], 0x0800)
			if frame[0]>>4 == 6 {
				binary.BigEndian.PutUint16(link[12:], 0x86dd)
			}
			frame = append(slices.Clone(link), frame...)
		}
		frames = append(frames, frame)
	}
}

// TestTCOwnCapture holds the committed capture to the frames that make it.
func TestTCOwnCapture(t *testing.T) {
	var capture bytes.Buffer
	writer := pcapgo.NewWriter(&capture)
	require.NoError(t, writer.WriteFileHeader(65535, layers.LinkTypeEthernet))
	for n, frame := range ownFrames(t) {
		require.NoError(t, writer.WritePacket(gopacket.CaptureInfo{
			Timestamp: time.Unix(int64(n), 0), CaptureLength: len(frame), Length: len(frame),
		}, frame))
	}
	if *updateCapture {
		require.NoError(t, os.WriteFile(ownCapture, capture.Bytes(), 0o644))
	}
	committed, err := os.ReadFile(ownCapture)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(committed, capture.Bytes()), "run again with -update-capture")
}

// ownFrames are well-formed, in an order that does not change.
func ownFrames(t *testing.T) [][]byte {
	t.Helper()
	var frames [][]byte
	for _, test := range wellFormed(t) {
		frames = append(frames, test.frame)
	}
	later := wire.IPv4(func(ip *layers.IPv4) { ip.FragOffset = 3 })
	return append(frames,
		wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), later, wire.Payload(100)),
		wire.Build(t, wire.Ethernet(layers.EthernetTypeARP), wire.Payload(46)),
		wire.Ordinary(t, wire.OnlySYN),
		wire.Ordinary(t, reset),
	)
}
