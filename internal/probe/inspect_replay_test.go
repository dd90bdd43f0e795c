// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/replay"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// TestReplayedRequests has each frame of each capture pass the programs, and compares the
// requests with Zeek's log, or with what tshark reads.
func TestReplayedRequests(t *testing.T) {
	if os.Getenv("EBPF_TCP_PCAPS") == "" {
		t.Log("EBPF_TCP_PCAPS unset: TestReplayedTalk has the project's own frames")
		return
	}
	paths, err := filepath.Glob(filepath.Join(os.Getenv("EBPF_TCP_PCAPS"), "http", "*.pcap*"))
	require.NoError(t, err)
	require.NotEmpty(t, paths, "EBPF_TCP_PCAPS has no captures of HTTP")
	captures := make([]*replay.Capture, len(paths))
	var ports []uint16
	for i, path := range paths {
		captures[i], err = replay.Read(path)
		require.NoError(t, err)
		ports = append(ports, captures[i].Ports()...)
	}
	r := startReplay(t, ports)
	for i, path := range paths {
		rows := rowsOf(t, captures[i], path)
		r.send(captures[i], false).compare(t, path, rows)
		r.send(captures[i], true).compare(t, path+", drained after each frame", rows)
		r.otherwise(path, captures[i].Segments(), rows)
		t.Logf("%s: %d frames, %d requests", filepath.Base(path), len(captures[i].Frames), len(rows))
	}
	r.balance()
}

// TestReplayedTalk does the same with a talk of the project's own.
func TestReplayedTalk(t *testing.T) {
	talk := replay.Example()
	r := startReplay(t, []uint16{talk.Server.Port()})
	r.otherwise("talk", talk.Segments(), talk.Rows)
	r.balance()
}

// otherwise sends the same bytes in other segments and frames.
func (r *replayed) otherwise(name string, segments []replay.Segment, rows []replay.Row) {
	r.t.Helper()
	ethernet := replay.Style{Ethernet: true}
	for _, way := range []struct {
		name     string
		style    replay.Style
		segments []replay.Segment
		each     bool
	}{
		{"without Ethernet", replay.Style{}, segments, true},
		{"IPv6", replay.Style{Ethernet: true, IPv6: true}, segments, true},
		{"IPv6 without Ethernet", replay.Style{IPv6: true}, segments, false},
		{"VLAN", replay.Style{Ethernet: true, VLAN: true}, segments, true},
		{"VLAN IPv6", replay.Style{Ethernet: true, VLAN: true, IPv6: true}, segments, false},
		{"merged", ethernet, replay.Merge(segments, 64000), false},
		{"merged, drained", ethernet, replay.Merge(segments, 64000), true},
		{"twice", ethernet, replay.Twice(segments), true},
		{"in pieces of 7", ethernet, replay.Split(segments, 7), true},
		{"swapped", ethernet, replay.Swap(replay.Split(segments, 48)), true},
		{"swapped, at once", ethernet, replay.Swap(replay.Split(segments, 48)), false},
		{"swapped twice", ethernet, replay.Twice(replay.Swap(replay.Split(segments, 48))), false},
		{"a byte at a time", ethernet, replay.Split(segments, 1), true},
	} {
		styled := make([]replay.Row, len(rows))
		for i, row := range rows {
			row.Client, row.Server = way.style.End(row.Client), way.style.End(row.Server)
			styled[i] = row
		}
		r.send(way.style.Build(way.segments), way.each).compare(r.t, name+", "+way.name, styled)
	}
}

// rowsOf are Zeek's rows, or tshark's where Zeek left no log.
func rowsOf(t *testing.T, capture *replay.Capture, path string) []replay.Row {
	t.Helper()
	log := strings.TrimSuffix(path, filepath.Ext(path)) + ".http.log"
	if _, err := os.Stat(log); err == nil {
		rows, err := capture.Rows(log)
		require.NoError(t, err)
		return rows
	}
	return tsharkRows(t, path)
}

// tsharkRows pairs the requests and the answers of each stream in their order.
func tsharkRows(t *testing.T, path string) []replay.Row {
	t.Helper()
	args := []string{"-n", "-r", path, "-Y", "http.request || http.response", "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=|"}
	for _, field := range []string{
		"tcp.stream", "ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport",
		"http.request.method", "http.host", "http.request.uri", "http.response.code",
	} {
		args = append(args, "-e", field)
	}
	text, err := exec.Command("tshark", args...).Output()
	require.NoError(t, err)
	var rows []replay.Row
	streams, answers := map[string][]int{}, map[string][]int{}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		for i, method := range split(f[7]) {
			streams[f[0]] = append(streams[f[0]], len(rows))
			rows = append(rows, replay.Row{
				Client: end(t, f[1]+f[2], f[3]), Server: end(t, f[4]+f[5], f[6]),
				Method: method, Host: split(f[8])[i], URI: split(f[9])[i],
			})
		}
		for _, code := range split(f[10]) {
			if status, err := strconv.Atoi(code); assert.NoError(t, err) && status >= 200 || status == 101 {
				answers[f[0]] = append(answers[f[0]], status)
			}
		}
	}
	for stream, asked := range streams {
		for i, row := range asked {
			if i < len(answers[stream]) {
				rows[row].Status = answers[stream][i]
			}
		}
	}
	return rows
}

func split(field string) []string {
	if field == "" {
		return nil
	}
	return strings.Split(field, "|")
}

func end(t *testing.T, address, port string) netip.AddrPort {
	t.Helper()
	parsed, err := netip.ParseAddr(address)
	require.NoError(t, err)
	number, err := strconv.ParseUint(port, 10, 16)
	require.NoError(t, err)
	return netip.AddrPortFrom(parsed, uint16(number))
}

// replays gathers what a sink gets about the requests of a capture, by connection.
type replays struct {
	total    int
	seen     map[flow.Flow][]replay.Row
	problems map[flow.Flow][]request.Problem
	// untimed are those whose duration is unknown.
	untimed []string
}

// replayed is a whole probe and two interfaces, with and without Ethernet headers.
type replayed struct {
	fact.Nop
	t        *testing.T
	probe    *Probe
	devices  map[bool]*replay.Device
	now      *replays
	segments int
	lost     map[ledger.Cause]int
}

func (r *replayed) RequestSeen(e *request.Exchange) {
	r.now.total++
	r.now.seen[e.Flow] = append(r.now.seen[e.Flow], replay.Row{
		Client: e.Client, Server: e.Server, Method: string(e.Method), Host: string(e.Request.Field("host")),
		URI: string(e.Target), Status: e.Status, Version: e.Version.String(),
	})
	r.now.problems[e.Flow] = append(r.now.problems[e.Flow], e.Problem)
	if _, ok := e.Duration(); !ok {
		r.now.untimed = append(r.now.untimed, string(e.Target))
	}
}

func (r *replayed) SegmentsUsed(n int) { r.segments += n }

func (r *replayed) FactsLost(_ ledger.Event, c ledger.Cause, n int) { r.lost[c] += n }

// startReplay inspects ports, each with a listener, in a namespace of the test's own.
func startReplay(t *testing.T, ports []uint16) *replayed {
	t.Helper()
	wire.Enter(t)
	r := &replayed{t: t, devices: map[bool]*replay.Device{}, lost: map[ledger.Cause]int{}}
	cfg := testConfig()
	cfg.TCMode = TCAuto
	cfg.Inspect = settings.Inspect{
		HeadBytes: 8192, MaxConnections: 4096, MaxBytes: 16 << 20, RingBytes: 1 << 24, IdleTimeout: time.Minute,
	}
	for name, ethernet := range map[string]bool{"frames0": true, "packets0": false} {
		device, err := replay.Open(name, ethernet)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, device.Close()) })
		r.devices[ethernet] = device
		cfg.IncludeInterfaces = append(cfg.IncludeInterfaces, name)
	}
	slices.Sort(ports)
	for _, port := range slices.Compact(ports) {
		cfg.Inspect.HTTP = append(cfg.Inspect.HTTP, settings.InspectedPorts{PortRange: PortRange{First: port, Last: port}})
		listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, listener.Close()) })
	}
	var err error
	r.probe, err = New(cfg, zaptest.NewLogger(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.probe.Close()) })
	require.NoError(t, r.probe.Start(r))
	for _, state := range r.probe.Hooks() {
		if state.Feature == hook.FeatureInspect {
			require.NoError(t, state.Err)
			require.True(t, state.Attached, state.Name)
		}
	}
	return r
}

// send sends the frames of a capture, and forgets its connections.
func (r *replayed) send(capture *replay.Capture, eachFrame bool) *replays {
	r.t.Helper()
	r.now = &replays{seen: map[flow.Flow][]replay.Row{}, problems: map[flow.Flow][]request.Problem{}}
	device := r.devices[capture.Ethernet]
	for i := range capture.Frames {
		require.NoError(r.t, device.Send(capture, &capture.Frames[i]))
		if eachFrame {
			r.probe.inspect.drain()
		}
	}
	r.probe.inspect.drain()
	r.probe.inspect.table.Finish()
	return r.now
}

// balance compares the books of segments.
func (r *replayed) balance() {
	r.t.Helper()
	require.NoError(r.t, r.probe.Detach())
	require.NoError(r.t, r.probe.Drain(time.Now().Add(100*time.Millisecond)))
	snapshot, err := r.probe.Snapshot(func(*connection.Live) {})
	require.NoError(r.t, err)
	assert.EqualValues(r.t, r.segments, snapshot.Ledger.Produced[ledger.Segment], "every segment is used")
	assert.Empty(r.t, r.lost)
}

// compare holds the requests of each connection to the rows, in their order.
func (r *replays) compare(t *testing.T, name string, rows []replay.Row) {
	t.Helper()
	want := map[flow.Flow][]replay.Row{}
	for _, row := range rows {
		f := flow.Flow{Client: row.Client, Server: row.Server}
		want[f] = append(want[f], row)
	}
	assert.Equal(t, len(rows), r.total, "%s: requests", name)
	assert.Empty(t, r.untimed, "%s: without a duration", name)
	for f, rows := range want {
		got := r.seen[f]
		if !assert.Len(t, got, len(rows), "%s, %v: %v", name, f.Client, r.problems[f]) {
			continue
		}
		for i, row := range rows {
			at := fmt.Sprintf("%s, %v, request %d, %v", name, f.Client, i, r.problems[f][i])
			assert.Equal(t, row.Status, got[i].Status, at)
			if row.Method == "" {
				assert.Equal(t, request.ProblemMalformedRequest, r.problems[f][i], at)
				continue
			}
			assert.Equal(t, row.Method, got[i].Method, at)
			assert.Equal(t, row.URI, got[i].URI, at)
			assert.Equal(t, row.Host, withoutPort(got[i].Host), at)
		}
	}
}

// withoutPort is a host as Zeek has it.
func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}
