// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package inspect

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// TestInspectCalls: the frames of many calls of gRPC at once are followed to the end.
func TestInspectCalls(t *testing.T) {
	inNetNS(t)
	r := startRig(t, config(func(c *settings.Config) { c.Inspect.RingBytes = 1 << 25 }))
	listener, err := net.Listen("tcp", "127.0.0.1:8000")
	require.NoError(t, err)
	server := grpc.NewServer(grpc.ForceServerCodecV2(lab.Undecoded{}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			var request []byte
			if err := stream.RecvMsg(&request); err != nil {
				return err
			}
			return stream.SendMsg(&request)
		}))
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	raw, err := net.Dial("tcp", "127.0.0.1:8000")
	require.NoError(t, err)
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(lab.Undecoded{})),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return raw, nil }))
	require.NoError(t, err)
	for size, number := range map[int]int{10: 1000, 20000: 200} {
		var calls sync.WaitGroup
		slots := make(chan struct{}, 64)
		for range number {
			slots <- struct{}{}
			calls.Go(func() {
				message := make([]byte, size)
				_ = conn.Invoke(context.Background(), "/a/b", &message, new([]byte))
				<-slots
			})
		}
		calls.Wait()
		s := r.drain()
		notFollowed := slices.DeleteFunc(s.segments, func(s stream.Segment) bool { return s.Frames })
		assert.Zero(t, len(notFollowed), "messages of %d bytes", size)
	}
	figures, err := r.Figures()
	require.NoError(t, err)
	assert.Zero(t, figures.Beyond)
	assert.Zero(t, figures.Lost)
	require.NoError(t, conn.Close())
	server.Stop()
	<-done
}
