// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// rpcPort is where the server of calls listens, rpcProxyPort nginx before it.
const rpcPort, rpcProxyPort = 28640, 28641

// startRPC starts a server of calls in a network, without the receiver. It leaves connections of
// an age.
func startRPC(t *testing.T, age time.Duration) *programs {
	t.Helper()
	p := &programs{network: newNetwork(t), out: startRequestSink(t)}
	p.server.act(t, "rpcserver", fmt.Sprintf("[::]:%d", rpcPort), age.String()).ready(t)
	return p
}

// observeCalls starts the receiver for ports.
func (p *programs) observeCalls(t *testing.T, ports, more string) {
	t.Helper()
	p.agent = startAgent(t, p.out.endpoint, agentSettings{in: p.server, receiver: fmt.Sprintf(
		"    inspect: {http: {ports: [%s], request_headers: [x-id], response_headers: [x-id]}}\n%s", ports, more)})
}

// calls has a client make calls of each method, and returns how many.
func (a *actor) calls(t *testing.T, run rpcRun) int {
	t.Helper()
	if run.Methods == nil {
		run.Methods = rpcMethods()
	}
	require.NoError(t, json.NewEncoder(a.Input).Encode(run))
	var work lab.Work
	require.NoError(t, a.Result(&work))
	require.Zero(t, work.Failed)
	return int(work.Done)
}

// checkCalls checks the record of each call of a port: it has its own answer, and all that is
// known of a call. It returns how many there are of each method.
func (p *programs) checkCalls(t *testing.T, port int, device string) map[any]int {
	t.Helper()
	found := map[any]int{}
	numbers := map[any]bool{}
	for _, r := range p.out.records(localPort(port)) {
		if r.values["network.interface.name"] != device {
			continue
		}
		method, id := r.values["rpc.method"], r.values["http.request.header.x-id"]
		failed := method == rpcService[1:]+"Fail"
		code, answer := "OK", r.values["http.response.header.x-id"]
		if failed {
			code = "NOT_FOUND"
		}
		if !assert.NotNil(t, id, "%v", r.values) || !assert.NotNil(t, method, "%v", r.values) ||
			!assert.Equal(t, "grpc", r.values["rpc.system.name"], "%v", r.values) ||
			!assert.Equal(t, code, r.values["rpc.response.status_code"], "%v", r.values) ||
			!assert.True(t, failed && answer == nil || assert.ObjectsAreEqual(id, answer), "a wrong pair: %v", r.values) ||
			!assert.False(t, numbers[fmt.Sprint(id)], "reported twice: %v", r.values) ||
			!assert.Contains(t, r.values, "tcp.http.duration") || !assert.NotContains(t, r.values, "error.type") {
			break
		}
		numbers[fmt.Sprint(id)] = true
		found[method]++
	}
	return found
}

// each is what checkCalls returns for so many calls of each method.
func each(n int) map[any]int {
	want := map[any]int{}
	for _, method := range rpcMethods() {
		want[rpcService[1:]+method] = n
	}
	return want
}

// TestRPC: unary calls of gRPC and all kinds of streams, 64 at once on one connection, have a
// record each with method, code and their own answer.
func TestRPC(t *testing.T) {
	const number = 200
	p := startRPC(t, time.Hour)
	p.observeCalls(t, fmt.Sprint(rpcPort), "")
	total := 0
	byDevice := map[string]int{}
	for _, w := range p.ways() {
		p.offloads(t, w.offloads)
		to := netip.AddrPortFrom(w.to.Addr(), rpcPort)
		client := w.client.act(t, "rpcclient", to.String())
		for _, run := range []rpcRun{{Each: 10, AtOnce: 1}, {Each: number, AtOnce: 64, Bytes: 10}, {Each: 20, AtOnce: 64, Bytes: 20000}} {
			run.First = total
			total += client.calls(t, run)
			byDevice[w.device] += run.Each
		}
		client.End()
		p.rest(t, total)
	}
	p.agent.stop()
	for device, n := range byDevice {
		assert.Equal(t, each(n), p.checkCalls(t, rpcPort, device), device)
	}
	assert.EqualValues(t, total, p.out.count("rpc.server.call.duration", rpcPort))
	t.Logf("%d calls", total)
}

// TestRPCMessages: a streaming call lasts as long as its messages, and its first one has a time.
func TestRPCMessages(t *testing.T) {
	const number = 5
	p := startRPC(t, time.Hour)
	p.observeCalls(t, fmt.Sprint(rpcPort), "")
	client := p.client.act(t, "rpcclient", netip.AddrPortFrom(p.Server4, rpcPort).String())
	client.calls(t, rpcRun{Each: number, AtOnce: 1, Methods: []string{"Late"}})
	client.End()
	p.rest(t, number)
	p.agent.stop()
	records := p.out.records(localPort(rpcPort))
	require.Len(t, records, number)
	for _, r := range records {
		first := r.number(t, "tcp.http.first_message.duration")
		assert.GreaterOrEqual(t, first, rpcPause.Seconds())
		assert.GreaterOrEqual(t, r.number(t, "tcp.http.duration"), first+rpcMessages*rpcPause.Seconds())
	}
}

// TestRPCJoined: the receiver starts while calls are under way on a connection. Each later call has
// a record, none has another's values, and what was in the tables of fields before is absent.
func TestRPCJoined(t *testing.T) {
	const number = 50
	p := startRPC(t, time.Hour)
	client := p.client.act(t, "rpcclient", netip.AddrPortFrom(p.Server4, rpcPort).String())
	before := client.calls(t, rpcRun{Each: number, AtOnce: 64})
	p.observeCalls(t, fmt.Sprint(rpcPort), "")
	total := client.calls(t, rpcRun{First: before, Each: 2, AtOnce: 1})
	p.rest(t, total)
	total += client.calls(t, rpcRun{First: before + total, Each: number, AtOnce: 64, Bytes: 100})
	const late = 4
	total += client.calls(t, rpcRun{First: before + total, Each: late, AtOnce: 1, Methods: []string{"Late"}})
	p.rest(t, total)
	client.End()
	p.agent.stop()
	records := p.out.records(localPort(rpcPort))
	assert.Len(t, records, total)
	known := 0
	for _, r := range records {
		asked, answered := r.values["http.request.header.x-id"], r.values["http.response.header.x-id"]
		require.True(t, asked == nil || answered == nil || assert.ObjectsAreEqual(asked, answered), "a wrong pair: %v", r.values)
		path, cut := r.values["url.path"], r.values["tcp.http.request.cut"]
		require.True(t, path != nil && asked != nil || cut == true, "it says why: %v", r.values)
		if path == rpcService+"Late" {
			known++
		} else if id, ok := asked.([]any); ok && path != nil {
			n, err := strconv.Atoi(id[0].(string))
			require.NoError(t, err)
			require.Equal(t, rpcService+rpcMethods()[n%len(rpcMethods())], path, "of another call: %v", r.values)
		}
	}
	assert.Equal(t, late, known, "what was not in the tables is known")
}

// TestRPCThroughNginx: calls through a gateway, 64 at once, have a record at each of the two servers.
func TestRPCThroughNginx(t *testing.T) {
	const number = 50
	p := startRPC(t, time.Hour)
	web, err := lab.StartWebServer(t.Context(), p.server.Namespace, lab.WebConfiguration{
		Main: "user root; worker_processes 1;",
		HTTP: fmt.Sprintf(`
			keepalive_requests 100000;
			upstream calls { server 127.0.0.1:%[1]d; keepalive 16; }
			server { listen %[2]d http2; location / { grpc_pass grpc://calls; } }
			server { listen %[3]d; return 200 "one"; }`, rpcPort, rpcProxyPort, rpcProxyPort+1),
		Connections: 512, Port: rpcProxyPort + 1,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, web.Close()) })
	// Nearly all that is sent crosses: the messages end their streams. On a busy machine that fills the
	// default ring.
	p.observeCalls(t, fmt.Sprintf("%d-%d", rpcPort, rpcProxyPort), "    limits: {inspect_ring_bytes: 67108864}\n")
	client := p.client.act(t, "rpcclient", netip.AddrPortFrom(p.Server4, rpcProxyPort).String())
	total := 0
	for _, run := range []rpcRun{{Each: number, AtOnce: 64, Bytes: 10}, {Each: number, AtOnce: 64, Bytes: 20000}} {
		run.First = total
		total += client.calls(t, run)
		p.rest(t, 2*total)
	}
	client.End()
	p.agent.stop()
	assert.Equal(t, each(2*number), p.checkCalls(t, rpcProxyPort, "eth0"))
	assert.Equal(t, each(2*number), p.checkCalls(t, rpcPort, "lo"))
}

// TestRPCServerLeaves: a server that leaves each connection soon (GOAWAY) refuses calls that are on
// their way, and the client makes them again. Each call has one record with its answer.
func TestRPCServerLeaves(t *testing.T) {
	const number = 300
	p := startRPC(t, 50*time.Millisecond)
	p.observeCalls(t, fmt.Sprint(rpcPort), "")
	client := p.client.act(t, "rpcclient", netip.AddrPortFrom(p.Server4, rpcPort).String())
	total := client.calls(t, rpcRun{Each: number, AtOnce: 16})
	client.End()
	p.agent.balance(func(b lab.Ledger) bool { return b["request"].Queued == 0 && b["request"].Produced >= float64(total) })
	p.agent.stop()
	answered, refused := map[any]int{}, 0
	connections := map[any]bool{}
	for _, r := range p.out.records(localPort(rpcPort)) {
		connections[r.values["network.peer.port"]] = true
		if kind := r.values["error.type"]; kind != nil {
			assert.Equal(t, "server_closed", kind)
			refused++
			continue
		}
		answered[r.values["rpc.method"]]++
	}
	assert.Equal(t, each(number), answered)
	assert.Greater(t, len(connections), 1)
	t.Logf("%d connections, %d calls refused", len(connections), refused)
}

// TestRPCNeverAnothersValues loses segments of calls, on the wire and before user space, whose reader
// stands still meanwhile. A call has its own answer and method, or none, and the books have what was
// lost.
func TestRPCNeverAnothersValues(t *testing.T) {
	for _, test := range []struct {
		name string
		ring int
		drop int
	}{{name: "least ring", ring: 4096}, {name: "ring", ring: 65536}, {name: "wire", drop: 2}} {
		t.Run(test.name, func(t *testing.T) {
			p := startRPC(t, time.Hour)
			more := ""
			if test.ring > 0 {
				more = fmt.Sprintf("    limits: {inspect_ring_bytes: %d}\n", test.ring)
			}
			p.observeCalls(t, fmt.Sprint(rpcPort), more)
			client := p.client.act(t, "rpcclient", netip.AddrPortFrom(p.Server4, rpcPort).String())
			if test.drop > 0 {
				p.server.drop(t, rpcPort, test.drop)
				p.client.drop(t, rpcPort, test.drop)
			}
			total := 0
			call := func(run rpcRun) {
				run.First, run.Bytes = total, 100
				total += client.calls(t, run)
			}
			call(rpcRun{Each: 2, AtOnce: 1})
			if test.ring > 0 {
				p.agent.holding(func() { call(rpcRun{Each: 100, AtOnce: 16}) })
			}
			call(rpcRun{Each: 200, AtOnce: 16})
			for range 20 { // with a pause, so that the least ring has room
				call(rpcRun{Each: 1, AtOnce: 1})
				time.Sleep(tick)
			}
			client.End()
			b := p.agent.balance(func(b lab.Ledger) bool {
				return b["request"].Queued == 0 && b["request"].Produced > 0 && b["segment"].Queued == 0
			})
			p.arrive(t, b)
			p.agent.stop()
			records := p.out.records(localPort(rpcPort))
			pairs := checkOwnValues(t, records)
			lost := losses(b)[[3]string{"segment", "ring", "full"}]
			t.Logf("%d calls, %d records, %d pairs, segments %v of %v lost, requests %v", total, len(records), pairs,
				lost, b["segment"].Produced, b["request"].LostWhere())
			assert.LessOrEqual(t, len(records), total)
			assert.Positive(t, pairs)
			if test.ring > 0 {
				assert.Positive(t, lost)
				assert.Less(t, pairs, total)
			}
		})
	}
}

// checkOwnValues checks that no record of a call has another call's values, and returns how many have
// those of both sides.
func checkOwnValues(t *testing.T, records []record) (pairs int) {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range records {
		asked, answered := r.values["http.request.header.x-id"], r.values["http.response.header.x-id"]
		if asked == nil {
			continue
		}
		id := asked.([]any)[0].(string)
		require.False(t, seen[id], "reported twice: %v", r.values)
		seen[id] = true
		n, err := strconv.Atoi(id)
		require.NoError(t, err)
		if path := r.values["url.path"]; path != nil {
			require.Equal(t, rpcService+rpcMethods()[n%len(rpcMethods())], path, "of another call: %v", r.values)
		}
		if answered != nil {
			require.Equal(t, asked, answered, "a wrong pair: %v", r.values)
			pairs++
		}
	}
	return pairs
}
