// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package inspect

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// largestPacket is GSO_MAX_SIZE of the kernel, of BIG TCP.
const largestPacket = 8 * 65535

// TestInspectLargestPackets: requests that are pipelined in packets of hundreds of KiB all cross,
// and bytes that find no room do not count as copied.
func TestInspectLargestPackets(t *testing.T) {
	for _, test := range []struct {
		name string
		ring uint32
	}{{"with room", 1 << 23}, {"without room", 1 << 16}} {
		t.Run(test.name, func(t *testing.T) { inspectLargestPackets(t, test.ring) })
	}
}

func inspectLargestPackets(t *testing.T, ring uint32) {
	t.Helper()
	size := 4 << 20
	if wire.Emulated() {
		size /= 4
	}
	inNetNS(t)
	allowLargestPackets(t)
	r := startRig(t, config(func(c *settings.Config) {
		c.Inspect.RingBytes, c.Inspect.HeadBytes = ring, size // nobody says what is wanted
	}))
	listener, err := net.Listen("tcp", fmt.Sprintf("[::1]:%d", serverPort))
	require.NoError(t, err)
	defer listener.Close()
	var sent strings.Builder
	for i := 0; sent.Len() < size; i++ {
		fmt.Fprintf(&sent, "GET /%d HTTP/1.1\r\nHost: a\r\nX-Filler: %s\r\n\r\n", i, strings.Repeat("x", 500))
	}
	received := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		all, _ := io.ReadAll(conn)
		received <- string(all)
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, sent.String())
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	require.True(t, sent.String() == <-received)

	s := r.drain()
	figures, err := r.Figures()
	require.NoError(t, err)
	crossed := s.data[stream.ToServer].Len() + s.data[stream.ToClient].Len()
	t.Logf("%d segments, %d lost, %d bytes", figures.Segments, figures.Lost, figures.Bytes)
	assert.EqualValues(t, crossed, figures.Bytes, "only what crossed was copied")
	assert.EqualValues(t, len(s.segments), figures.Segments-figures.Lost)
	if ring < uint32(sent.Len()) {
		assert.NotZero(t, figures.Lost)
		return
	}
	assert.Zero(t, figures.Lost)
	assert.True(t, sent.String() == s.inOrder(stream.ToServer), "every byte crosses")
	largest := uint32(0)
	for _, segment := range s.segments {
		largest = max(largest, uint32(len(segment.Data))+segment.Left)
	}
	t.Logf("the largest packet has %d bytes", largest)
}

// inOrder is what crossed of a direction, by number: two CPUs write to the ring. Bytes that were
// sent again are there once.
func (s *seen) inOrder(d stream.Direction) string {
	segments := slices.DeleteFunc(slices.Clone(s.segments), func(s stream.Segment) bool { return s.Direction != d })
	slices.SortStableFunc(segments, func(a, b stream.Segment) int { return int(int32(a.Sequence - b.Sequence)) })
	var data strings.Builder
	for _, segment := range segments {
		again := int(int32(segments[0].Sequence + uint32(data.Len()) - segment.Sequence))
		data.Write(segment.Data[min(max(again, 0), len(segment.Data)):])
	}
	return data.String()
}

// allowLargestPackets turns BIG TCP on where the kernel has it.
func allowLargestPackets(t *testing.T) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	require.NoError(t, err)
	if err := netlink.LinkSetGSOMaxSize(lo, largestPacket); err != nil {
		t.Logf("packets have at most 64 KiB: %v", err)
	}
}
