// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

const handshakeEvent = "tcp.server.tls.handshake"

// Ports of TLS. The first is inspected for HTTP, too.
const (
	tlsPort   = 28500 + iota // TLS 1.2 and 1.3; refuses unknown names
	tlsOld                   // TLS 1.2 only
	tlsRetry                 // a group for which OpenSSL's clients send no share at first
	tlsMutual                // wants certificates of clients
	tlsPlain                 // HTTP in clear, inspected for both
	tlsMail                  // clear text first: this and the next two
	tlsLast   = tlsMail + 2
)

const tlsServers = `
	ssl_certificate %[1]s/server.pem; ssl_certificate_key %[1]s/server.key;
	server { listen %[2]d ssl default_server; ssl_reject_handshake on; ssl_protocols TLSv1.2 TLSv1.3; }
	server { listen %[2]d ssl http2; server_name *.shop.example; ssl_session_cache shared:s:1m; location / { return 200 "ok\n"; } location = /large { root %[1]s; } }
	server { listen %[3]d ssl; ssl_protocols TLSv1.2; location / { return 200 "ok\n"; } }
	server { listen %[4]d ssl; ssl_protocols TLSv1.3; ssl_ecdh_curve secp384r1; location / { return 200 "ok\n"; } }
	server { listen %[5]d; location / { return 200 "ok\n"; } }
`

// issue writes a certificate and its key: NAME.pem and NAME.key.
func issue(t *testing.T, folder, name string, until time.Time, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: names,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for file, block := range map[string]*pem.Block{
		".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name+file), pem.EncodeToMemory(block), 0o600))
	}
}

// tlsBench are servers that speak TLS, in a network with the receiver.
type tlsBench struct {
	*network
	folder string
	out    *sink
	agent  *collector
}

// startTLS starts them with more lines of the receiver's configuration.
func startTLS(t *testing.T, more string) *tlsBench {
	t.Helper()
	b := &tlsBench{network: newNetwork(t), folder: t.TempDir()}
	issue(t, b.folder, "server", time.Now().Add(time.Hour), "*.shop.example")
	issue(t, b.folder, "expired", time.Now().Add(-time.Hour))
	require.NoError(t, os.Truncate(touch(t, b.file("large")), largeFile))
	web, err := lab.StartWebServer(t.Context(), b.server.Namespace, lab.WebConfiguration{
		Main:        "user root; worker_processes 1;",
		HTTP:        fmt.Sprintf(tlsServers, b.folder, tlsPort, tlsOld, tlsRetry, tlsPlain),
		Connections: 512, Port: tlsPort,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, web.Close()) })
	b.startMutual(t)
	b.out = startSink(t, b.server)
	b.agent = startAgent(t, b.out.endpoint, agentSettings{in: b.server, receiver: fmt.Sprintf(
		"    inspect: {http: {ports: [%d, %d]}, tls: {ports: [%d-%d]}}\n%s", tlsPort, tlsPlain, tlsPort, tlsLast, more)})
	return b
}

// startMutual runs a server that verifies the certificates of its clients.
func (b *tlsBench) startMutual(t *testing.T) {
	t.Helper()
	cmd := b.server.Command("openssl", "s_server", "-accept", fmt.Sprint(tlsMutual), "-www", "-quiet",
		"-cert", b.file("server.pem"), "-key", b.file("server.key"),
		"-CAfile", b.file("expired.pem"), "-Verify", "1", "-verify_return_error")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		assert.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
	})
	require.Eventually(t, func() bool {
		return strings.Contains(b.server.run(t, "ss", "-Hltn", fmt.Sprintf("sport = :%d", tlsMutual)), "LISTEN")
	}, settle, tick)
}

// tlsPath is how a client reaches the server.
type tlsPath struct {
	tag, host string
	in        namespace
	offloads  uint32
}

func (b *tlsBench) paths() []tlsPath {
	host := b.At(tlsPort).Addr().String()
	return []tlsPath{{"veth", host, b.client, 1}, {"segments", host, b.client, 0}, {"lo", "127.0.0.1", b.server, 1}}
}

func (b *tlsBench) file(name string) string { return filepath.Join(b.folder, name) }

// try runs a client, which may fail, and tells what it said.
func (b *tlsBench) try(t *testing.T, in namespace, input string, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	inside := in.Command(words[0], words[1:]...)
	cmd := exec.CommandContext(ctx, inside.Path, inside.Args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	said, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		require.NoError(t, err)
	}
	t.Logf("%s: %v\n%s", strings.Join(words, " "), err, said)
}

// playTLS is a client of Go: it asks for a name, trusts a certificate and closes.
func playTLS(address, name, trusted string, version uint16) error {
	text, err := os.ReadFile(trusted)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: roots, MinVersion: version, MaxVersion: version, NextProtos: []string{"http/1.1"}})
	if _, err := client.Write([]byte("GET / HTTP/1.0\r\nHost: " + name + "\r\n\r\n")); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, client)
	return err
}

// tlsCase is what a client does, and what its handshakes are.
type tlsCase struct {
	name  string
	port  int
	input string
	words []string
	want  values
	// absent are attributes that the record must not have.
	absent []string
}

const get = "GET / HTTP/1.0\r\n\r\n"

// tlsCases are clients that each ask for another name, so that their records can be told apart.
type tlsCases struct {
	*tlsBench
	self, host, tag string
	all             []tlsCase
}

// cases are clients of a host.
func (b *tlsBench) cases(t *testing.T, host, tag string) []tlsCase {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c := &tlsCases{tlsBench: b, self: self, host: host, tag: tag}
	for _, version := range []string{"1.2", "1.3"} {
		c.addCompleted(version)
		c.addResumed(version)
	}
	c.addFailed()
	return c.all
}

func (c *tlsCases) add(name string, port int, input string, words func(name string) []string, want values, absent ...string) {
	name += "-" + c.tag
	if strings.HasPrefix(name, "unknown") {
		name += ".example"
	} else {
		name += ".shop.example"
	}
	c.all = append(c.all, tlsCase{name, port, input, words(name), want, absent})
}

// openssl is a client of OpenSSL with options, curl one of curl, own one of this program.
func (c *tlsCases) openssl(port int, options ...string) func(name string) []string {
	return func(name string) []string {
		return append([]string{"openssl", "s_client", "-connect", fmt.Sprintf("%s:%d", c.host, port), "-servername", name, "-ign_eof"}, options...)
	}
}

func (c *tlsCases) curl(options ...string) func(name string) []string {
	return func(name string) []string {
		return append([]string{
			"curl", "-sS", "-o", "/dev/null", "--resolve", fmt.Sprintf("%s:%d:%s", name, tlsPort, c.host),
			fmt.Sprintf("https://%s:%d/", name, tlsPort),
		}, options...)
	}
}

func (c *tlsCases) own(role string) func(name string) []string {
	return func(name string) []string {
		return append(lab.RoleCommand(role, c.self), fmt.Sprintf("%s:%d", c.host, tlsPort), name, c.file("server.pem"))
	}
}

// completed is what records of completed handshakes have.
func completed(version string, more values) values {
	v := values{"tls.established": true, "tls.protocol.version": version, "tls.protocol.name": "tls", "tls.resumed": false}
	maps.Copy(v, more)
	return v
}

func failed(kind, by string) values {
	return values{"tls.established": false, "error.type": kind, "tcp.tls.ended_by": by}
}

func (c *tlsCases) addCompleted(version string) {
	short, flag, trusted := "1"+version[2:], "-tls1_"+version[2:], c.file("server.pem")
	c.add("openssl"+short, tlsPort, get, c.openssl(tlsPort, flag, "-CAfile", trusted, "-verify_return_error"),
		completed(version, nil), "error.type", "tcp.tls.client.protocols")
	c.add("curl"+short, tlsPort, "", c.curl("--cacert", trusted, "--tls-max", version, "--tlsv"+version),
		completed(version, values{"tcp.tls.client.protocols": []any{"h2", "http/1.1"}}), "error.type")
	c.add("go"+short, tlsPort, "", c.own("tls"+short),
		completed(version, values{"tcp.tls.client.protocols": []any{"http/1.1"}}), "error.type")
}

func (c *tlsCases) addResumed(version string) {
	short, flag := "1"+version[2:], "-tls1_"+version[2:]
	session := c.file("session" + short + c.tag)
	c.add("save"+short, tlsPort, get, c.openssl(tlsPort, flag, "-sess_out", session), completed(version, nil))
	c.add("resume"+short, tlsPort, get, c.openssl(tlsPort, flag, "-sess_in", session),
		completed(version, values{"tls.resumed": true}))
}

func (c *tlsCases) addFailed() {
	c.add("unknown12", tlsPort, "", c.openssl(tlsPort, "-tls1_2"), failed("unrecognized_name", "server"), "tls.cipher")
	c.add("unknown13", tlsPort, "", c.openssl(tlsPort, "-tls1_3"), failed("unrecognized_name", "server"), "tls.cipher")
	c.add("distrust12", tlsPort, "", c.curl("--tls-max", "1.2"), failed("unknown_ca", "client"))
	c.add("distrust13", tlsPort, "", c.curl(), failed("closed", "client"))
	c.add("old", tlsPort, "", c.openssl(tlsPort, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
		failed("protocol_version", "server"), "tls.protocol.version")
	c.add("new", tlsOld, "", c.openssl(tlsOld, "-tls1_3"), failed("protocol_version", "server"), "tls.protocol.version")
	c.add("retry", tlsRetry, get, c.openssl(tlsRetry, "-groups", "X25519:P-384"),
		completed("1.3", values{"tcp.tls.retried": true}))
	expired := []string{"-cert", c.file("expired.pem"), "-key", c.file("expired.key")}
	c.add("expired12", tlsMutual, get, c.openssl(tlsMutual, append(expired, "-tls1_2")...), failed("certificate_expired", "server"))
	c.add("expired13", tlsMutual, get, c.openssl(tlsMutual, append(expired, "-tls1_3")...), failed("closed", "server"))
}

// TestTLSHandshakes: each handshake of openssl, curl and a client of Go is one record, which
// says how it ended, over a veth pair, in whole packets and in segments, and over lo. On a port of both protocols, HTTP is seen.
func TestTLSHandshakes(t *testing.T) {
	b := startTLS(t, "")
	handshakes, requests := 0, 0
	for _, path := range b.paths() {
		b.offloads(t, path.offloads)
		cases := b.cases(t, path.host, path.tag)
		for i := range cases {
			b.try(t, path.in, cases[i].input, cases[i].words...)
		}
		handshakes += len(cases)
		path.in.run(t, "curl", "-s", "-o", "/dev/null", fmt.Sprintf("http://%s:%d/plain", path.host, tlsPlain))
		requests++
		books := b.agent.balance(func(l lab.Ledger) bool {
			return l["handshake"].Produced >= float64(handshakes) && l["request"].Produced >= float64(requests)
		})
		assert.Empty(t, losses(books))
		assert.EqualValues(t, handshakes, books["handshake"].Delivered)
		assert.EqualValues(t, requests, books["request"].Delivered)
	}
	b.agent.stop()
	b.out.stop()
	for _, path := range b.paths() {
		for _, c := range b.cases(t, path.host, path.tag) {
			t.Run(c.name, func(t *testing.T) { b.check(t, &c) })
		}
	}
	total := b.out.total(t, func(p point) bool { return p.metric == "tcp.server.tls.handshakes" })
	assert.EqualValues(t, handshakes, total.value)
}

// check compares the record of a client with what is wanted.
func (b *tlsBench) check(t *testing.T, c *tlsCase) {
	records := b.out.records(t, func(r record) bool {
		return r.event == handshakeEvent && r.values["server.address"] == c.name
	})
	require.Len(t, records, 1)
	got := records[0].values
	for key, want := range c.want {
		assert.Equal(t, want, got[key], key)
	}
	for _, key := range c.absent {
		assert.NotContains(t, got, key)
	}
	assert.EqualValues(t, c.port, got["server.port"])
	assert.Len(t, got["tls.client.ja3"], 32)
	assert.Len(t, got["tcp.tls.client.ja4"], 36)
	assert.Contains(t, got, "tcp.tls.duration")
	assert.Contains(t, got, "tcp.tls.client.versions")
	assert.Contains(t, got, "process.executable.name")
}

// TestTLSContentDoesNotCross: after the handshake no more than a window is copied, whatever the
// connection carries.
func TestTLSContentDoesNotCross(t *testing.T) {
	b := startTLS(t, "")
	const name = "large.shop.example"
	b.client.run(t, "curl", "-sS", "-o", "/dev/null", "--cacert", b.file("server.pem"), "--http1.1",
		"--resolve", fmt.Sprintf("%s:%d:%s", name, tlsPort, b.At(tlsPort).Addr()), fmt.Sprintf("https://%s:%d/large", name, tlsPort))
	books := b.agent.balance(func(l lab.Ledger) bool { return l["handshake"].Produced == 1 })
	assert.Empty(t, losses(books))
	// A segment has up to 64 KiB; all of the content would be 1,600 of them.
	assert.Less(t, books["segment"].Delivered, float64(100))
	b.agent.stop()
	b.out.stop()
	require.Len(t, b.out.records(t, func(r record) bool { return r.values["server.address"] == name }), 1)
}
