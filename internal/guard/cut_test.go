// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package guard

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// connect opens connections from the client, until the test ends.
func (s *served) connect(n int) (held []net.Conn) {
	s.t.Helper()
	s.peer.In(func() {
		for range n {
			conn, err := net.DialTimeout("tcp", listensAt, wire.Patience(2*time.Second))
			if assert.NoError(s.t, err) {
				held = append(held, conn)
			}
		}
	})
	s.t.Cleanup(func() {
		for _, conn := range held {
			_ = conn.Close()
		}
	})
	require.Len(s.t, held, n)
	return held
}

// ended tells whether the other side has given a connection up: it was reset, which the client
// sees because nothing drops what leaves.
func ended(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(wire.Patience(3 * time.Second)))
	_, err := conn.Read(make([]byte, 1))
	return err != nil && !os.IsTimeout(err)
}

func open(conn net.Conn) bool {
	_ = conn.SetDeadline(time.Now().Add(wire.Patience(3 * time.Second)))
	if _, err := conn.Write([]byte("x")); err != nil {
		return false
	}
	_, err := conn.Read(make([]byte, 1))
	return err == nil
}

// Connections of blocked sources end, in both ways, and no others.
func TestCutsConnections(t *testing.T) {
	s := newServed(t)
	b := newBench(t)
	way, err := b.CutsBy()
	t.Logf("by %q: %v", way, err)
	if way == "" {
		require.Error(t, err)
		return
	}
	held := s.connect(5)
	cut := func(n int) {
		t.Helper()
		got, err := b.Cut()
		require.NoError(t, err)
		assert.Equal(t, n, got)
	}
	cut(0)
	for _, passes := range []Block{{DryRun: true}, {Limit: 5}, {HasAllowed: true}} {
		b.put(peerAddress, passes)
		if passes.HasAllowed {
			continue
		}
		cut(0)
	}
	b.put(peerAddress, Block{DryRun: true})
	assert.True(t, open(held[0]))
	b.put(peerAddress, Block{})
	require.NoError(t, b.LetPass())
	cut(0)
	require.NoError(t, b.Renew())
	cut(5)
	for _, conn := range held {
		assert.True(t, ended(conn))
	}

	// The other way, for a network.
	if canDestroy() == nil {
		_, err = b.Remove(netip.MustParsePrefix(peerAddress))
		require.NoError(t, err)
		b.put("192.0.2.0/28", Block{})
		held = s.connect(3)
		n, err := destroyIf(b.drops)
		require.NoError(t, err)
		assert.Equal(t, 3, n)
		for _, conn := range held {
			assert.True(t, ended(conn))
		}
	}
}
