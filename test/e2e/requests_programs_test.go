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
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// Ports of the programs. All but the last two are inspected.
const (
	webPort     = 28400 + iota // nginx
	webPort6                   // the same over IPv6
	proxiedOne                 // nginx behind haproxy, PROXY protocol version 1
	proxiedTwo                 // version 2
	proxiedBy                  // version 1 from a proxy that nobody trusts
	gatewayPort                // nginx before a server
	serverPort                 // that server
	proxyPort                  // haproxy: this and the next two
	statusPort  = webPort + 15
)

// largeFile is what a slow reader gets.
const largeFile = 100 << 20

const programServers = `
	keepalive_requests 10000000;
	sendfile on;
	server {
		listen %[1]d; listen [::]:%[2]d;
		listen 127.0.0.1:%[3]d proxy_protocol; listen 127.0.0.1:%[4]d proxy_protocol; listen 127.0.0.1:%[5]d proxy_protocol;
		add_header X-Id $uri always;
		location / { return 200 "$uri\n"; }
		location = /large { root %[8]s; }
	}
	server {
		listen %[6]d;
		location / {
			proxy_pass http://127.0.0.1:%[7]d;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $http_connection;
			proxy_buffering off;
		}
	}
	server { listen 127.0.0.1:%[9]d; location = /status { stub_status; } }
`

const haproxyConfiguration = `
defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
listen one
	bind :%[1]d
	server nginx 127.0.0.1:%[4]d send-proxy source 127.0.0.2
listen two
	bind :%[2]d
	server nginx 127.0.0.1:%[5]d send-proxy-v2 source 127.0.0.2
listen by
	bind :%[3]d
	server nginx 127.0.0.1:%[6]d send-proxy source 127.0.0.3
`

// programs are real ones in a network, with the receiver beside them.
type programs struct {
	*network
	out   *requestSink
	agent *collector
}

// startPrograms starts them with more lines of the receiver's configuration.
func startPrograms(t *testing.T, more string) *programs {
	t.Helper()
	p := &programs{network: newNetwork(t), out: startRequestSink(t)}
	folder := t.TempDir()
	// Other users have to enter, and the test's folder is nobody's else.
	require.NoError(t, os.Truncate(touch(t, filepath.Join(folder, "large")), largeFile))
	web, err := lab.StartWebServer(t.Context(), p.server.Namespace, lab.WebConfiguration{
		Main: "user root; worker_processes 1;",
		HTTP: fmt.Sprintf(programServers, webPort, webPort6, proxiedOne, proxiedTwo, proxiedBy, gatewayPort,
			serverPort, folder, statusPort),
		Connections: 512, Port: statusPort,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, web.Close()) })
	p.server.act(t, "web", fmt.Sprintf("127.0.0.1:%d", serverPort)).ready(t)
	p.agent = startAgent(t, p.out.endpoint, agentSettings{in: p.server, receiver: fmt.Sprintf(
		"    inspect: {http: {ports: [%d-%d], response_headers: [x-id], trusted_proxies: [127.0.0.2]}}\n"+
			"%s", webPort, serverPort, more)})
	return p
}

func touch(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	return path
}

func (p *programs) startHAProxy(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := fmt.Sprintf(haproxyConfiguration, proxyPort, proxyPort+1, proxyPort+2, proxiedOne, proxiedTwo, proxiedBy)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	proxy, err := lab.Start(p.server.Command("haproxy", "-db", "-f", path))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, proxy.Stop(syscall.SIGTERM)) })
	require.NoError(t, proxy.Wait(t.Context(), "listening", func() (bool, error) {
		listeners, err := p.server.Run(t.Context(), "ss", "-Hltn")
		return strings.Contains(listeners, fmt.Sprintf(":%d ", proxyPort)), err
	}))
}

// served is how many requests nginx counts, without those that ask for it.
func (p *programs) served(t *testing.T, asked *int) int {
	t.Helper()
	*asked++
	said := p.server.run(t, "curl", "-s", fmt.Sprintf("http://127.0.0.1:%d/status", statusPort))
	found := regexp.MustCompile(`\n (\d+) (\d+) (\d+)`).FindStringSubmatch(said)
	require.NotNil(t, found, said)
	n, err := strconv.Atoi(found[3])
	require.NoError(t, err)
	return n - *asked
}

// rest waits until the books balance with so many requests, and nothing lost.
func (p *programs) rest(t *testing.T, requests int) lab.Ledger {
	t.Helper()
	b := p.agent.balance(func(b lab.Ledger) bool {
		return b["request"].Produced >= float64(requests) && b["request"].Queued == 0
	})
	assert.Empty(t, losses(b), "nothing may be lost")
	assert.EqualValues(t, requests, b["request"].Produced)
	p.arrive(t, b)
	return b
}

// arrive waits for what was delivered: the exporter has a queue of its own.
func (p *programs) arrive(t *testing.T, b lab.Ledger) {
	t.Helper()
	require.Eventually(t, func() bool { return float64(p.out.taken()) >= b["request"].Delivered }, settle, tick)
}

// paired checks that each answer has the id of its request, and returns how many there are.
func (p *programs) paired(t *testing.T, prefix, device string) int {
	t.Helper()
	records := p.out.records(func(r record) bool {
		path, _ := r.values["url.path"].(string)
		return strings.HasPrefix(path, prefix)
	})
	for _, r := range records {
		if !assert.EqualValues(t, 200, r.values["http.response.status_code"], "%v", r) ||
			!assert.Equal(t, []any{r.values["url.path"]}, r.values["http.response.header.x-id"]) ||
			!assert.Equal(t, device, r.values["network.interface.name"]) ||
			!assert.Contains(t, r.values, "tcp.http.duration", "%v", r) || !assert.NotContains(t, r.values, "error.type") {
			break
		}
	}
	return len(records)
}

// offloads switches what a device does for the kernel, at both ends.
func (n *network) offloads(t *testing.T, on uint32) {
	t.Helper()
	for _, end := range []namespace{n.server, n.client} {
		require.NoError(t, end.Do(func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			for _, command := range []uint32{unix.ETHTOOL_STSO, unix.ETHTOOL_SGSO, unix.ETHTOOL_SGRO} {
				value := [2]uint32{command, on}
				request := struct {
					name [unix.IFNAMSIZ]byte
					data *[2]uint32
					_    [16]byte
				}{data: &value}
				copy(request.name[:], "eth0")
				if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
					return errno
				}
			}
			return nil
		}))
	}
}

// way is how a client reaches the server.
type way struct {
	name, device string
	client       namespace
	to           netip.AddrPort
	offloads     uint32
}

func (p *programs) ways() []way {
	return []way{
		{"lo", "lo", p.server, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), webPort), 1},
		{"lo6", "lo", p.server, netip.AddrPortFrom(netip.IPv6Loopback(), webPort6), 1},
		{"self", "lo", p.server, p.At(webPort), 1},
		{"veth", "eth0", p.client, p.At(webPort), 1},
		{"veth6", "eth0", p.client, netip.AddrPortFrom(p.Server6, webPort6), 1},
		{"segments", "eth0", p.client, p.At(webPort), 0},
		{"segments6", "eth0", p.client, netip.AddrPortFrom(p.Server6, webPort6), 0},
	}
}

// TestRequestsOfClients: curl, ab and a client that sends a byte at a time, over all kinds of
// interfaces. Every request is a record with its own answer, and an observation.
func TestRequestsOfClients(t *testing.T) {
	const byCurl, byAB, byDrip = 20, 1000, 5
	p := startPrograms(t, "")
	total, asked := 0, 0
	for _, w := range p.ways() {
		p.offloads(t, w.offloads)
		url := fmt.Sprintf("http://%s/%s", w.to, w.name)
		w.client.run(t, "curl", "-sS", fmt.Sprintf("%s/curl/[1-%d]", url, byCurl), "-o", "/dev/null")
		w.client.run(t, "ab", "-q", "-k", "-n", strconv.Itoa(byAB), "-c", "8", url+"/ab/1")
		drip := w.client.act(t, "drip", w.to.String(), "/"+w.name+"/drip/", strconv.Itoa(byDrip))
		drip.End()
		total += byCurl + byAB + byDrip
		require.Equal(t, total, p.served(t, &asked), "nginx has them")
		p.rest(t, total)
		for program, n := range map[string]int{"curl": byCurl, "ab": byAB, "drip": byDrip} {
			assert.Equal(t, n, p.paired(t, "/"+w.name+"/"+program+"/", w.device), "%s over %s", program, w.name)
		}
	}
	p.agent.stop()
	observed := p.out.count("http.server.request.duration", webPort) + p.out.count("http.server.request.duration", webPort6)
	assert.EqualValues(t, total, observed)
	t.Logf("sent, served and recorded: %d", total)
}
