// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exchange is one connection as its client saw it.
type exchange struct {
	client         netip.AddrPort
	sent, received int64
}

// outcome is what traffic at one port must have left behind.
type outcome struct {
	// exchanges are the connections; empty when the client does not tell them apart.
	exchanges []exchange
	// count is their number, sent and received their sums; -1 when the client did
	// not count.
	count          int
	sent, received int64
}

// scenario is traffic at a port of its own.
type scenario struct {
	name string
	port int
	ipv6 bool
	// reasons are the permitted close reasons. There are two if either side may close first:
	// nginx closes after its answer, curl and ab after the announced length.
	reasons    []string
	executable string
	traffic    func(*testing.T, *network, scenario) outcome
}

// target is where the scenario's server listens.
func (s scenario) target(n *network) netip.AddrPort {
	if s.ipv6 {
		return netip.AddrPortFrom(n.Server6, uint16(s.port))
	}
	return n.At(s.port)
}

// self is this test binary's name, as a process has it.
func self() string {
	path, err := os.Executable()
	if err != nil {
		return err.Error()
	}
	return filepath.Base(path)
}

// scenarios list everything that can happen to an established connection.
func scenarios() []scenario {
	own := self()
	either := []string{"server_fin", "client_fin"}
	return []scenario{
		{name: "curl over IPv4", port: 28080, reasons: either, executable: "nginx", traffic: curl},
		{name: "curl over IPv6", port: 28081, ipv6: true, reasons: either, executable: "nginx", traffic: curl},
		{name: "ab over IPv4", port: 28082, reasons: either, executable: "nginx", traffic: ab},
		{name: "ab over IPv6", port: 28083, ipv6: true, reasons: either, executable: "nginx", traffic: ab},
		{name: "curl with keep-alive", port: 28084, reasons: []string{"client_fin"}, executable: "nginx", traffic: curlKeepAlive},
		{name: "nginx resets without an answer", port: 28085, reasons: []string{"server_reset"}, executable: "nginx", traffic: curlNoAnswer},

		{name: "client closes", port: 28090, reasons: []string{"client_fin"}, executable: own, traffic: raw(eof, step{End: fin})},
		{name: "client closes over IPv6", port: 28091, ipv6: true, reasons: []string{"client_fin"}, executable: own, traffic: raw(eof, step{End: fin})},
		{name: "server closes", port: 28092, reasons: []string{"server_fin"}, executable: own, traffic: raw(fin, step{End: eof})},
		{name: "client resets", port: 28093, reasons: []string{"client_reset"}, executable: own, traffic: raw(eof, step{End: reset})},
		{name: "server resets", port: 28094, reasons: []string{"server_reset"}, executable: own, traffic: raw(reset, step{End: eof})},
		{name: "server leaves bytes unread", port: 28095, reasons: []string{"server_reset"}, executable: own, traffic: leaveUnread},
		{name: "administrator aborts", port: 28096, reasons: []string{"aborted"}, executable: own, traffic: abort},
		{name: "client vanishes", port: 28097, reasons: []string{"timeout"}, executable: own, traffic: vanish},
	}
}

// TestConnections runs every scenario. The sink must have one close for each connection, with
// the client's own figures.
func TestConnections(t *testing.T) {
	n := newNetwork(t)
	out := startSink(t, namespace{})
	agent := startAgent(t, out.endpoint, agentSettings{})
	n.server.startNginx(t, nginxPorts{28080, 28081, 28082, 28083, 28084, 28085})

	all := scenarios()
	outcomes := make([]outcome, len(all))
	want := 0
	for i, s := range all {
		if s.executable != "nginx" {
			n.server.startServer(t, s.port)
		}
		outcomes[i] = s.traffic(t, n, s)
		want += outcomes[i].count
	}
	refused := refuse(t, n, 28099)

	ours := func(r record) bool {
		return r.event == "tcp.server.connection.close" &&
			r.number(t, "tcp.netns.inode") == float64(n.server.inode(t))
	}
	assert.Eventually(t, func() bool { return len(out.records(t, ours)) >= want }, settle, tick,
		"closes are missing")
	// Metrics are cumulative: the figures of the last snapshot hold everything.
	agent.stop()
	out.stop()

	for i, s := range all {
		t.Run(s.name, func(t *testing.T) { checkLogs(t, n, out, s, outcomes[i]) })
		t.Run(s.name+" in metrics", func(t *testing.T) { checkMetrics(t, out, s, outcomes[i]) })
	}
	t.Run("refused", func(t *testing.T) {
		needing(t, "refused by raw_tp/*") // packets are seen in the collector's namespace only
		checkRefused(t, out, refused, 28099)
	})
}

// checkLogs compares the close records with what the clients saw.
func checkLogs(t *testing.T, n *network, out *sink, s scenario, want outcome) {
	records := out.records(t, at("tcp.server.connection.close", s.port))
	require.Equal(t, want.count, len(records), "one close per connection")
	byClient := map[netip.AddrPort]record{}
	var sent, received int64
	for _, r := range records {
		checkRecord(t, n, s, r)
		client, err := netip.ParseAddr(r.values["client.address"].(string))
		require.NoError(t, err)
		byClient[netip.AddrPortFrom(client, uint16(r.number(t, "client.port")))] = r
		sent += int64(r.number(t, "tcp.receive.size"))
		received += int64(r.number(t, "tcp.transmit.size"))
	}
	assert.Equal(t, want.count, len(byClient), "each connection has its own client port")
	for _, e := range want.exchanges {
		r, found := byClient[e.client]
		if assert.True(t, found, "no close of %s", e.client) {
			assert.EqualValues(t, e.sent, r.number(t, "tcp.receive.size"), "received from %s", e.client)
			assert.EqualValues(t, e.received, r.number(t, "tcp.transmit.size"), "sent to %s", e.client)
		}
	}
	if want.sent >= 0 {
		assert.Equal(t, want.sent, sent, "received in all")
	}
	if want.received >= 0 {
		assert.Equal(t, want.received, received, "sent in all")
	}
}

// checkRecord checks what holds for each record of a scenario.
func checkRecord(t *testing.T, n *network, s scenario, r record) {
	t.Helper()
	server, client, family := n.Server4, n.Client4, "ipv4"
	if s.ipv6 {
		server, client, family = n.Server6, n.Client6, "ipv6"
	}
	assert.Equal(t, server.String(), r.values["server.address"])
	assert.Equal(t, client.String(), r.values["client.address"])
	assert.Equal(t, family, r.values["network.type"])
	assert.Equal(t, "tcp", r.values["network.transport"])
	assert.Contains(t, s.reasons, r.values["tcp.close.reason"])
	assert.Equal(t, s.executable, r.values["process.executable.name"])
	assert.Positive(t, r.number(t, "process.pid"))
	assert.Contains(t, []any{"acceptor", "closer", "listener"}, r.values["tcp.owner.source"])
	assert.EqualValues(t, n.server.inode(t), r.values["tcp.netns.inode"])
	assert.Positive(t, r.number(t, "tcp.rtt.smoothed"))
	assert.Positive(t, r.number(t, "tcp.connection.duration"))
	assert.True(t, strings.HasPrefix(r.body, r.event), "body %q begins with the event's name", r.body)
}

// checkMetrics compares the metrics with the clients' figures, which the logs equal.
func checkMetrics(t *testing.T, out *sink, s scenario, want outcome) {
	assert.EqualValues(t, want.count, out.total(t, of("connection.opened", s.port)).value, "opened")
	assert.EqualValues(t, want.count, out.total(t, of("connection.duration", s.port)).count, "durations")
	assert.EqualValues(t, want.count, out.total(t, of("rtt", s.port)).count, "rtts")
	assert.Zero(t, out.total(t, of("connection.active", s.port)).value, "active at rest")
	for direction, bytes := range map[string]int64{"receive": want.sent, "transmit": want.received} {
		if bytes < 0 {
			bytes = sumOf(t, out, s.port, "tcp."+direction+".size")
		}
		io := out.total(t, func(p point) bool {
			return of("io", s.port)(p) && p.values["network.io.direction"] == direction
		})
		assert.EqualValues(t, bytes, io.value, "io %s", direction)
	}
}

// sumOf adds up one attribute of the closes at a port.
func sumOf(t *testing.T, out *sink, port int, attribute string) (sum int64) {
	for _, r := range out.records(t, at("tcp.server.connection.close", port)) {
		sum += int64(r.number(t, attribute))
	}
	return sum
}

// curl makes a hundred connections of one request each; nginx closes them.
func curl(t *testing.T, n *network, s scenario) outcome {
	return curlEach(t, n, s, 100, "-H", "Connection: close")
}

// curlKeepAlive ends connections that nginx would have kept.
func curlKeepAlive(t *testing.T, n *network, s scenario) (o outcome) {
	for range 20 {
		one := curlEach(t, n, s, 1)
		o.exchanges = append(o.exchanges, one.exchanges...)
		o.count, o.sent, o.received = o.count+1, o.sent+one.sent, o.received+one.received
	}
	return o
}

// curlEach asks for count pages in one curl and reads its own figures.
func curlEach(t *testing.T, n *network, s scenario, count int, args ...string) outcome {
	t.Helper()
	const format = `%{local_ip} %{local_port} %{size_request} %{size_header} %{size_download} %{http_code}\n`
	args = append(args, "-sS", "-w", format)
	for range count {
		args = append(args, "-o", "/dev/null", "http://"+s.target(n).String()+"/")
	}
	o := outcome{count: count}
	for line := range strings.Lines(n.client.run(t, "curl", args...)) {
		fields := strings.Fields(line)
		require.Len(t, fields, 6, "curl said %q", line)
		require.Equal(t, "200", fields[5])
		e := exchange{
			client:   netip.MustParseAddrPort(joinHostPort(fields[0], fields[1])),
			sent:     integer(t, fields[2]),
			received: integer(t, fields[3]) + integer(t, fields[4]),
		}
		o.exchanges = append(o.exchanges, e)
		o.sent += e.sent
		o.received += e.received
	}
	require.Len(t, o.exchanges, count)
	return o
}

// curlNoAnswer asks where nginx closes at once.
func curlNoAnswer(t *testing.T, n *network, s scenario) outcome {
	for range 10 {
		cmd := n.client.Command("curl", "-s", "http://"+s.target(n).String()+"/")
		require.Error(t, cmd.Run(), "an empty reply is an error")
	}
	return outcome{count: 10, sent: -1, received: 0}
}

// ab makes hundreds of connections, eight at a time.
func ab(t *testing.T, n *network, s scenario) outcome {
	const requests = 300
	before := n.client.counter(t, "ActiveOpens")
	said := n.client.run(t, "ab", "-q", "-n", strconv.Itoa(requests), "-c", "8",
		"http://"+s.target(n).String()+"/")
	require.Regexp(t, `Failed requests:\s+0\n`, said)
	total := regexp.MustCompile(`Total transferred:\s+(\d+) bytes`).FindStringSubmatch(said)
	require.Len(t, total, 2, "ab said:\n%s", said)
	// ab may open a few connections more than it has requests for.
	opened := int(n.client.counter(t, "ActiveOpens") - before)
	require.GreaterOrEqual(t, opened, requests)
	return outcome{count: opened, sent: -1, received: integer(t, total[1])}
}

// raw exchanges some bytes on ten connections and ends them one way.
func raw(then ending, last step) func(*testing.T, *network, scenario) outcome {
	return func(t *testing.T, n *network, s scenario) (o outcome) {
		for i := range 10 {
			c := n.client.dial(t, s.target(n))
			require.Empty(t, c.Error)
			c.do(step{Ask: ask{Reply: 1}})
			c.do(step{Ask: ask{Reply: 1000 * i}})
			// The last ask acknowledges the answer before it. A reset would not.
			c.do(step{Ask: ask{Then: then}})
			c.do(last)
			o.add(c)
		}
		return o
	}
}

// add counts a client's connection.
func (o *outcome) add(c *client) {
	o.exchanges = append(o.exchanges, exchange{c.Client, c.Sent, c.Received})
	o.count++
	o.sent += c.Sent
	o.received += c.Received
}

// leaveUnread makes the server close while it has not read everything.
func leaveUnread(t *testing.T, n *network, s scenario) (o outcome) {
	c := n.client.dial(t, s.target(n))
	require.Empty(t, c.Error)
	c.do(step{Ask: ask{Reply: 10, Then: unread}, Pad: 500})
	c.do(step{End: eof})
	o.add(c)
	return o
}

// abort destroys the server's socket with ss -K.
func abort(t *testing.T, n *network, s scenario) (o outcome) {
	c := n.client.dial(t, s.target(n))
	require.Empty(t, c.Error)
	c.do(step{Ask: ask{Reply: 10, Then: eof}})
	said := n.server.run(t, "ss", "-HKtn", "state", "established", "dport", "=",
		fmt.Sprintf(":%d", c.Client.Port()))
	require.Contains(t, said, strconv.Itoa(s.port), "ss did not find the socket")
	c.do(step{End: eof})
	o.add(c)
	return o
}

// vanish keeps the server's segments from the client until the server gives up.
func vanish(t *testing.T, n *network, s scenario) (o outcome) {
	c := n.client.dial(t, s.target(n))
	require.Empty(t, c.Error)
	c.do(step{Ask: ask{Reply: 10, Then: impatient}})
	o.add(c)
	n.client.nft(t, fmt.Sprintf("add table inet e2e; add chain inet e2e in "+
		"{ type filter hook input priority 0; }; add rule inet e2e in tcp sport %d drop", s.port))
	require.Eventually(t, func() bool {
		return n.server.run(t, "ss", "-Htn", "state", "established", "sport", "=",
			fmt.Sprintf(":%d", s.port)) == ""
	}, settle, tick, "the server does not give up")
	return o
}

// refuse connects to a port without a listener, and returns the number of clients' addresses.
func refuse(t *testing.T, n *network, port int) int {
	const attempts = 5
	for i := range attempts {
		to := n.At(port)
		if i%2 == 1 {
			to = netip.AddrPortFrom(n.Server6, uint16(port))
		}
		c := n.client.dial(t, to)
		require.Contains(t, c.Error, "refused")
	}
	return attempts
}

// checkRefused compares the failed records and their counter with the attempts.
func checkRefused(t *testing.T, out *sink, attempts, port int) {
	records := out.records(t, at("tcp.server.connection.failed", port))
	assert.Len(t, records, attempts)
	for _, r := range records {
		assert.Equal(t, "refused", r.values["error.type"])
		assert.NotEmpty(t, r.values["client.address"])
		assert.Positive(t, r.number(t, "client.port"))
	}
	// A port without a listener is no attribute, or a port scan would fill the cap.
	failed := out.total(t, func(p point) bool {
		return p.metric == "tcp.server.connection.failed" && p.values["error.type"] == "refused" &&
			p.values["server.port"] == nil
	})
	// So others of this host count in it, too: as many as there are records of them.
	all := out.records(t, func(r record) bool {
		return r.event == "tcp.server.connection.failed" && r.values["error.type"] == "refused"
	})
	assert.InDelta(t, len(all), failed.value, 0, "the counter agrees")
}

func joinHostPort(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

func integer(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(t, err)
	return n
}
