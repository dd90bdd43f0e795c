// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package inspect

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const serverPort = 8000

// rig is the vantage point in the namespace of the test, attached to lo.
type rig struct {
	*Vantage
	t       testing.TB
	guest   *Guest
	manager *tc.Manager
	ports   *ebpf.Map
	context *record.Context
}

func config(change ...func(*settings.Config)) settings.Config {
	cfg := settings.Config{
		Packets: settings.Packets{TCMode: settings.TCAuto, IncludeInterfaces: []string{"lo"}},
		Limits: settings.Limits{
			MaxListeners: 1024, MaxHalfOpen: 1024, MaxPortCounters: 1024, MaxConnections: 1024, RingBytes: 1 << 16,
		},
		Inspect: settings.Inspect{
			HTTP:           []settings.InspectedPorts{{PortRange: settings.PortRange{First: serverPort, Last: serverPort}}},
			MaxConnections: 1024, RingBytes: 1 << 22,
		},
		ExcludeHooks: testbed.ExcludedHooks(),
	}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

func startRig(t testing.TB, cfg settings.Config) *rig {
	t.Helper()
	inode, err := netns.Current()
	require.NoError(t, err)
	maps, err := shared.NewMaps(&cfg)
	require.NoError(t, err)
	t.Cleanup(maps.Close)
	r := &rig{t: t, context: &record.Context{OwnNetNS: inode}}
	require.NoError(t, r.context.Clock.Refresh())
	r.ports, err = shared.NewPortTable()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.ports.Close()) })
	require.NoError(t, shared.MarkPort(r.ports, serverPort, true))
	r.Vantage, err = New(&Options{Config: &cfg, OwnNetNS: inode, Maps: maps.Maps, Context: r.context})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	namespace, err := netns.OpenThread()
	require.NoError(t, err)
	r.manager, err = tc.NewRegistry().Open(namespace)
	require.NoError(t, err)
	r.guest = r.In(inode, r.ports, zaptest.NewLogger(t))
	r.guest.Begin(r.manager)
	t.Cleanup(func() {
		require.NoError(t, r.guest.Detach())
		require.NoError(t, r.manager.Close())
		r.guest.Close()
	})
	for _, state := range r.guest.Hooks(nil) {
		require.NoError(t, state.Err)
		require.True(t, state.Attached, state.Name)
	}
	return r
}

// seen gathers what crossed, by direction.
type seen struct {
	data     [stream.Directions]bytes.Buffer
	segments []stream.Segment
}

func (s *seen) Segment(_ *request.Connection, segment *stream.Segment) {
	s.data[segment.Direction].Write(segment.Data)
	kept := *segment
	kept.Data = bytes.Clone(segment.Data)
	s.segments = append(s.segments, kept)
}

func (r *rig) drain() *seen {
	r.t.Helper()
	var s seen
	r.Drain(&s)
	return &s
}

// inNetNS moves the goroutine of a test to a network namespace of its own, with lo. Its
// thread ends with it.
func inNetNS(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	require.NoError(t, unix.Unshare(unix.CLONE_NEWNET))
	lo, err := netlink.LinkByName("lo")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetUp(lo))
}

// serve runs a server in the namespace of the calling thread.
func serve(t *testing.T, address string, handler http.HandlerFunc) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	server := &http.Server{Handler: handler}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
}

func TestInspectRequest(t *testing.T) {
	for _, address := range []string{"127.0.0.1:8000", "[::1]:8000"} {
		t.Run(address, func(t *testing.T) { inspectRequest(t, address) })
	}
}

func inspectRequest(t *testing.T, address string) {
	t.Helper()
	inNetNS(t)
	r := startRig(t, config())
	serve(t, address, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	connection, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer connection.Close()
	_, err = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
	answer := make([]byte, 4096)
	n, err := connection.Read(answer)
	require.NoError(t, err)
	s := r.drain()
	assert.Equal(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", s.data[stream.ToServer].String())
	assert.Equal(t, string(answer[:n]), s.data[stream.ToClient].String())
	require.Len(t, s.segments, 2)
	assert.True(t, s.segments[0].Begins)
	assert.False(t, s.segments[1].Joined)
	assert.Zero(t, s.segments[1].Retransmits)
	assert.WithinDuration(t, time.Now(), time.Unix(0, s.segments[0].Time), 10*time.Second)
	// The answer's time is TCP's own, of another clock.
	assert.Greater(t, s.segments[1].Time, s.segments[0].Time)
	assert.Less(t, s.segments[1].Time, time.Now().UnixNano())
}

// TestInspectWant: user space finds the entry of a connection, says that a body is not wanted,
// learns when its end passed, and frees the entry.
func TestInspectWant(t *testing.T) {
	for _, address := range []string{"127.0.0.1:8000", "[::1]:8000"} {
		t.Run(address, func(t *testing.T) { inspectWant(t, address) })
	}
}

func inspectWant(t *testing.T, address string) {
	t.Helper()
	inNetNS(t)
	r := startRig(t, config())
	const size = 1 << 20
	goOn := make(chan struct{})
	serve(t, address, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		w.(http.Flusher).Flush()
		<-goOn
		io.WriteString(w, strings.Repeat("x", size))
	})
	connection, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer connection.Close()
	_, err = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	defer response.Body.Close()
	head := r.drain().segments[1]
	f := flow.Flow{
		Client: connection.LocalAddr().(*net.TCPAddr).AddrPort(), Server: connection.RemoteAddr().(*net.TCPAddr).AddrPort(),
	}
	end := head.Sequence + uint32(len(head.Data)) + size
	r.Want(r.context.OwnNetNS, &f, stream.ToClient, end)
	close(goOn)
	n, err := io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.EqualValues(t, size, n)
	s := r.drain()
	assert.Zero(t, s.data[stream.ToClient].Len(), "no byte of the body crosses")
	require.NotEmpty(t, s.segments)
	assert.Equal(t, end, s.segments[len(s.segments)-1].Sequence, "its end is told")
	words, _, _ := r.words.entry(r.context.OwnNetNS, &f)
	require.NotNil(t, words)
	r.Forget(r.context.OwnNetNS, &f)
	words, _, _ = r.words.entry(r.context.OwnNetNS, &f)
	assert.Nil(t, words)
}

// TestInspectBody: of a large answer only its beginning crosses, and its end.
func TestInspectBody(t *testing.T) {
	inNetNS(t)
	r := startRig(t, config())
	body := strings.Repeat("x", 4<<20)
	serve(t, "127.0.0.1:8000", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })
	connection, err := net.Dial("tcp", "127.0.0.1:8000")
	require.NoError(t, err)
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for range 3 {
		_, err := io.WriteString(connection, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		require.NoError(t, err)
		response, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		response.Body.Close()
	}
	s := r.drain()
	answers := s.data[stream.ToClient]
	assert.Equal(t, 3, strings.Count(answers.String(), "HTTP/1.1 200 OK"))
	assert.Less(t, answers.Len(), 3*(1<<17))
	figures, err := r.Figures()
	require.NoError(t, err)
	assert.NotZero(t, figures.Beyond)
	assert.Zero(t, figures.Lost)
}
