// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// said is what one side of a connection said at a time: bytes, or that it says no more.
type said struct {
	from stream.Direction
	data []byte
	fin  bool
}

// log has what both sides say, in the order in which they do.
type log struct {
	mu  sync.Mutex
	all []said
}

func (l *log) add(s said) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
}

// logged is a connection whose writes are logged.
type logged struct {
	net.Conn
	log  *log
	from stream.Direction
	once sync.Once
}

func (c *logged) Write(b []byte) (int, error) {
	c.log.add(said{from: c.from, data: append([]byte(nil), b...)})
	return c.Conn.Write(b)
}

func (c *logged) Close() error {
	c.once.Do(func() { c.log.add(said{from: c.from, fin: true}) })
	return c.Conn.Close()
}

// certificate makes one that signs itself.
func certificate(t testing.TB, name string, until time.Time) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// peers are the configurations of both sides.
type peers struct{ client, server *tls.Config }

// trusting are sides that agree.
func trusting(t testing.TB, version uint16) peers {
	cert := certificate(t, "shop.example", time.Now().Add(time.Hour))
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	return peers{
		client: &tls.Config{
			ServerName: "shop.example", RootCAs: roots, NextProtos: []string{"h2", "http/1.1"},
			MinVersion: version, MaxVersion: version,
		},
		server: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS10},
	}
}

// connected are both ends of a connection.
func connected(t testing.TB) (near, far net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	near, err = net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	far, err = listener.Accept()
	require.NoError(t, err)
	deadline := time.Now().Add(time.Minute)
	require.NoError(t, near.SetDeadline(deadline))
	require.NoError(t, far.SetDeadline(deadline))
	return near, far
}

// talk lets both sides speak, and returns what they said. After a handshake that both think
// complete, the client sends a question and the server answers.
func talk(t testing.TB, p peers) []said {
	near, far := connected(t)
	l := &log{}
	clientSide := &logged{Conn: near, log: l, from: stream.ToServer}
	serverSide := &logged{Conn: far, log: l, from: stream.ToClient}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server := tls.Server(serverSide, p.server)
		question := make([]byte, 4)
		if _, err := io.ReadFull(server, question); err == nil {
			_, _ = server.Write([]byte("a rather long answer to a short question"))
		}
		_ = serverSide.Close()
	}()
	client := tls.Client(clientSide, p.client)
	if _, err := client.Write([]byte("what")); err == nil {
		_, _ = io.Copy(io.Discard, client)
	}
	_ = clientSide.Close()
	<-done
	return l.all
}
