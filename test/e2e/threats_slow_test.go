// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
)

// Ports of servers that the test itself runs: one waits for whole bodies, one never answers.
const (
	bodyPort   = 8080
	syslogPort = 514
)

// listenInside listens in the server's namespace.
func (j *judged) listenInside(t *testing.T, port int) (l net.Listener) {
	t.Helper()
	require.NoError(t, j.server.Do(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	}))
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// startPatient starts a server that reads a whole body before it answers, and one that only reads.
func (j *judged) startPatient(t *testing.T) {
	t.Helper()
	bodies, lines := j.listenInside(t, bodyPort), j.listenInside(t, syslogPort)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			w.WriteHeader(http.StatusSwitchingProtocols)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "all of it")
	})}
	go func() { _ = server.Serve(bodies) }()
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		for {
			conn, err := lines.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
}

// hold opens connections from an address of the client's namespace, and sends something on each.
// If it is answered, it waits for the answer.
func (j *judged) hold(t *testing.T, n int, from netip.Addr, port int, text string, answered bool) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	for range n {
		var conn net.Conn
		require.NoError(t, j.client.Do(func() (err error) {
			conn, err = dialer.DialContext(t.Context(), "tcp4", netip.AddrPortFrom(j.Server4, uint16(port)).String())
			return err
		}))
		t.Cleanup(func() { _ = conn.Close() })
		_, err := io.WriteString(conn, text)
		require.NoError(t, err)
		if answered {
			_, err := bufio.NewReader(conn).ReadString('\n')
			require.NoError(t, err)
		}
	}
}

// TestThreatsOfSlowAttacks: slowhttptest holds headers back from nginx, and bodies from a handler that
// waits for them. While it runs, each is found, and nobody else: idle connections and WebSockets have
// been answered, and a server of syslog never answers anybody.
func TestThreatsOfSlowAttacks(t *testing.T) {
	j := startWatch(t, "")
	j.startLogins(t, 80)
	j.startPatient(t)
	// Three clients and two addresses of the server tell who does what.
	ordinary, other, second := nth(j.Client4, 50), nth(j.Client4, 51), nth(j.Server4, 201)
	j.client.ip(t, fmt.Sprintf("addr add %s/24 dev eth0", ordinary))
	j.client.ip(t, fmt.Sprintf("addr add %s/24 dev eth0", other))
	j.server.ip(t, fmt.Sprintf("addr add %s/24 dev eth0", second))
	j.client.ip(t, fmt.Sprintf("route add %s/32 dev eth0 src %s", second, other))
	j.hold(t, 30, ordinary, 80, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true)
	j.hold(t, 30, ordinary, bodyPort, "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", true)
	j.hold(t, 40, ordinary, syslogPort, "<34>1 - host app - - - started\n", false)

	slow := []string{"-c", "40", "-r", "40", "-i", "1", "-l", "60", "-p", "3", "-u"}
	j.attack(t, "slowhttptest", append(append([]string{"-H"}, slow...), fmt.Sprintf("http://%s/", j.Server4))...)
	j.attack(t, "slowhttptest", append(append([]string{"-B", "-s", "8192"}, slow...), fmt.Sprintf("http://%s:%d/", second, bodyPort))...)
	require.Eventually(t, func() bool { return len(j.threats(t, "begin")) >= 2 }, settle+source.SilentAge, tick)
	time.Sleep(2 * time.Second)
	found := map[string]record{}
	for _, r := range j.threats(t, "begin") {
		assert.Equal(t, "slow_hold", r.values["security_rule.name"])
		found[fmt.Sprint(r.values["client.address"])] = r
	}
	require.Len(t, found, 2)
	require.Len(t, j.threats(t, "begin"), 2)
	for client, port := range map[netip.Addr]int{j.Client4: 80, other: bodyPort} {
		r := found[client.String()]
		require.NotNil(t, r.values, client)
		assert.InDelta(t, port, r.number(t, "server.port"), 0)
		assert.GreaterOrEqual(t, r.number(t, "tcp.threat.silent.count"), 20.0)
		assert.Equal(t, false, r.values["tcp.threat.spoofable"])
	}
}
