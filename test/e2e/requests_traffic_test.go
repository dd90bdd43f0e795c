// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// wrkScript has wrk send a number of requests at once, each with an id of its own, and then
// wait for some milliseconds.
const wrkScript = `
local threads, id = 0, 0
function setup(thread)
	thread:set("number", threads)
	threads = threads + 1
end
function init(args)
	prefix, depth, pause = args[1] .. number .. "-", tonumber(args[2]), tonumber(args[3])
end
function request()
	local all = {}
	for i = 1, depth do
		id = id + 1
		all[i] = wrk.format("GET", prefix .. id)
	end
	return table.concat(all)
end
function delay() return pause end
`

// wrk sends requests for PREFIX… for a second, so many at once.
func (p *programs) wrk(t *testing.T, w way, prefix string, depth, pause int) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "requests.lua")
	require.NoError(t, os.WriteFile(script, []byte(wrkScript), 0o600))
	w.client.run(t, "wrk", "-t", "1", "-c", "4", "-d", "1s", "-s", script, "http://"+w.to.String(), "--", prefix,
		strconv.Itoa(depth), strconv.Itoa(pause))
}

// TestRequestsPipelined: of 16 requests at a time each has its own answer. When wrk stops, it
// has requests under way: what nginx had not begun is not answered.
func TestRequestsPipelined(t *testing.T) {
	p := startPrograms(t, "    queue: {max_bytes: 268435456}\n    limits: {inspect_ring_bytes: 67108864}")
	asked, before, answeredBefore := 0, 0, 0
	for _, w := range p.ways() {
		if strings.HasSuffix(w.name, "6") {
			continue
		}
		p.offloads(t, w.offloads)
		prefix := "/" + w.name + "/wrk/"
		p.wrk(t, w, prefix, 16, 2)
		served := p.served(t, &asked)
		b := p.agent.balance(func(b lab.Ledger) bool {
			return b["request"].Queued == 0 && b["request"].Produced >= float64(served)
		})
		assert.Empty(t, losses(b), "nothing may be lost")
		p.arrive(t, b)
		var answered, unanswered, wrong int
		for _, r := range p.out.records(localPort(int(w.to.Port()))) {
			path, _ := r.values["url.path"].(string)
			switch {
			case !strings.HasPrefix(path, prefix):
			case r.values["http.response.status_code"] == nil:
				unanswered++
				assert.Contains(t, []any{"client_closed", "client_reset", "server_reset", "server_closed"}, r.values["error.type"])
			case !assert.ObjectsAreEqual([]any{path}, r.values["http.response.header.x-id"]):
				wrong++
			default:
				answered++
			}
		}
		t.Logf("%s: nginx served %d, recorded %d with their answers, %d without", w.name, served-before, answered, unanswered)
		assert.Zero(t, wrong, "wrong pairs")
		assert.LessOrEqual(t, answered, served-before)
		assert.GreaterOrEqual(t, answered+unanswered, served-before)
		assert.LessOrEqual(t, unanswered, 4*32, "what can be under way")
		before, answeredBefore = served, answeredBefore+answered
	}
	p.agent.stop()
	assert.EqualValues(t, answeredBefore, p.out.count("http.server.request.duration", webPort), "observations")
}

// TestRequestsThroughProxies: haproxy says who the client is, in both versions of the PROXY
// protocol. It is believed if it is trusted.
func TestRequestsThroughProxies(t *testing.T) {
	const number = 20
	p := startPrograms(t, "")
	p.startHAProxy(t)
	for i := range 3 {
		p.client.run(t, "curl", "-sS", fmt.Sprintf("http://%s/proxy/[1-%d]", p.At(proxyPort+i), number), "-o", "/dev/null")
	}
	p.rest(t, 3*number)
	p.agent.stop()
	for port, want := range map[int][2]string{
		proxiedOne: {p.Client4.String(), "127.0.0.2"},
		proxiedTwo: {p.Client4.String(), "127.0.0.2"},
		proxiedBy:  {"127.0.0.3", "127.0.0.3"},
	} {
		records := p.out.records(localPort(port))
		assert.Len(t, records, number)
		for _, r := range records {
			assert.Equal(t, want[0], r.values["client.address"], "%v", r)
			assert.Equal(t, want[1], r.values["network.peer.address"])
			assert.Equal(t, []any{r.values["url.path"]}, r.values["http.response.header.x-id"])
			assert.NotContains(t, r.values, "error.type")
		}
		assert.EqualValues(t, number, p.out.count("http.server.request.duration", port))
	}
}

// TestRequestsToSlowReaders: the duration of a large file that the kernel sends by itself is the
// one that curl measures. The last byte counts when it leaves, so the client's receive buffer
// must be small against the file. curl reads in bursts: now and then it has all bytes early,
// and waits until its limit permits so many. So one of some downloads has to agree, and none
// may seem longer than it was.
func TestRequestsToSlowReaders(t *testing.T) {
	const downloads = 5
	p := startPrograms(t, "")
	p.client.run(t, "sh", "-c", "echo 4096 131072 262144 > /proc/sys/net/ipv4/tcp_rmem")
	done := 0
	for _, on := range []uint32{1, 0} {
		p.offloads(t, on)
		agrees := false
		for range downloads {
			took := p.download(t)
			done++
			b := p.rest(t, done)
			assert.Less(t, b["segment"].Produced, float64(500*done), "only the beginning of the body crosses")
			r := p.out.records(localPort(webPort))[done-1]
			duration := r.number(t, "tcp.http.duration")
			t.Logf("curl took %.3f s, the record says %.3f s, %.2f %%", took, duration, 100*(duration/took-1))
			assert.LessOrEqual(t, duration, 1.01*took)
			assert.EqualValues(t, largeFile, r.values["http.response.body.size"])
			if agrees = duration >= 0.99*took; agrees {
				break
			}
		}
		assert.True(t, agrees, "within 1 %%")
	}
}

// download lets curl fetch the large file slowly, and returns how long it took, in seconds.
func (p *programs) download(t *testing.T) float64 {
	t.Helper()
	took, err := strconv.ParseFloat(p.client.run(t, "curl", "-sS", "-o", "/dev/null", "--limit-rate", "32M",
		"-w", "%{time_total}", fmt.Sprintf("http://%s/large", p.At(webPort))), 64)
	require.NoError(t, err)
	return took
}

// TestRequestsThatSwitch: a WebSocket is reported at the switch, and nothing of what follows.
// A stream of events is reported at its end. Neither is in the histogram. nginx is the gateway
// before the server, so each request is seen twice.
func TestRequestsThatSwitch(t *testing.T) {
	p := startPrograms(t, "")
	url := fmt.Sprintf("http://%s/", p.At(gatewayPort))
	socket := p.client.act(t, "socket", p.At(gatewayPort).String())
	var status int
	require.NoError(t, socket.Result(&status))
	socket.End()
	require.Equal(t, 101, status)
	events := p.client.run(t, "curl", "-sSN", url+"events")
	require.Equal(t, 5, strings.Count(events, "data: "))
	p.client.run(t, "curl", "-sS", url+"ordinary/[1-10]", "-o", "/dev/null")
	p.rest(t, 24)
	p.agent.stop()
	for _, port := range []int{gatewayPort, serverPort} {
		found := map[string]int{}
		for _, r := range p.out.records(localPort(port)) {
			path, _, _ := strings.Cut(strings.TrimPrefix(r.values["url.path"].(string), "/"), "/")
			found[fmt.Sprintf("%s %v %v", path, r.values["http.response.status_code"], r.values["tcp.http.switched"])]++
			assert.NotContains(t, r.values, "error.type")
			if path == "events" {
				assert.GreaterOrEqual(t, r.number(t, "tcp.http.duration"), 0.2)
			}
		}
		assert.Equal(t, map[string]int{"socket 101 true": 1, "events 200 <nil>": 1, "ordinary 200 <nil>": 10}, found)
		assert.EqualValues(t, 10, p.out.count("http.server.request.duration", port))
	}
}
