// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// requests gathers what a sink gets about requests.
type requests struct {
	fact.Nop
	seen     []string
	owners   []owner.Ref
	ids      []uint64
	longest  time.Duration
	segments int
	lost     map[ledger.Cause]int
}

func (r *requests) RequestSeen(e *request.Exchange) {
	duration, _ := e.Duration()
	r.longest = max(r.longest, time.Duration(duration))
	r.seen = append(r.seen, fmt.Sprintf("%s %s %d %d %s", e.Method, e.Target, e.Status, e.Answer.BodyBytes, e.Problem))
	r.owners, r.ids = append(r.owners, e.Owner), append(r.ids, e.ID)
}

func (r *requests) SegmentsUsed(n int) { r.segments += n }

func (r *requests) FactsLost(_ ledger.Event, c ledger.Cause, n int) {
	if r.lost == nil {
		r.lost = map[ledger.Cause]int{}
	}
	r.lost[c] += n
}

// TestInspectedRequests: requests to a server on lo are reported with their answers, their
// connection and its process, and every segment is accounted for.
func TestInspectedRequests(t *testing.T) {
	runtime.LockOSThread() // the thread ends with the test
	require.NoError(t, unix.Unshare(unix.CLONE_NEWNET))
	lo, err := netlink.LinkByName("lo")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetUp(lo))

	cfg := testConfig()
	cfg.IncludeInterfaces, cfg.TCMode = []string{"lo"}, TCAuto
	cfg.Inspect = settings.Inspect{
		HTTP:      []settings.InspectedPorts{{PortRange: PortRange{First: 8000, Last: 8000}}},
		HeadBytes: 8192, MaxConnections: 1024, MaxBytes: 1 << 20, RingBytes: 1 << 22, IdleTimeout: time.Minute,
	}
	p, err := New(cfg, zaptest.NewLogger(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	var r requests
	require.NoError(t, p.Start(&r))
	for _, state := range p.Hooks() {
		if state.Feature == hook.FeatureInspect {
			require.NoError(t, state.Err)
			require.True(t, state.Attached, state.Name)
		}
	}

	listener, err := net.Listen("tcp", "127.0.0.1:8000")
	require.NoError(t, err)
	body := strings.Repeat("x", 3<<20)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/large" {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			io.WriteString(w, body)
			return
		}
		io.WriteString(w, "hello")
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	client, err := net.Dial("tcp", "127.0.0.1:8000")
	require.NoError(t, err)
	reader := bufio.NewReader(client)
	for _, path := range []string{"/", "/large", "/", "/large", "/"} {
		_, err := io.WriteString(client, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
		require.NoError(t, err)
		response, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
	}
	require.NoError(t, client.Close())
	require.NoError(t, server.Close())
	require.ErrorIs(t, <-done, http.ErrServerClosed)
	require.NoError(t, p.Drain(time.Now().Add(100*time.Millisecond)))

	small, large := "GET / 200 5 ", "GET /large 200 3145728 "
	assert.Equal(t, []string{small, large, small, large, small}, r.seen)
	assert.NotZero(t, r.longest)
	for i := range r.ids {
		assert.NotZero(t, r.ids[i])
		assert.NotZero(t, r.owners[i].Key.PID)
	}
	snapshot, err := p.Snapshot(func(*connection.Live) {})
	require.NoError(t, err)
	assert.EqualValues(t, r.segments, snapshot.Ledger.Produced[ledger.Segment])
	assert.Empty(t, r.lost)
}
