// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package guard

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/street"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// modes runs a test on TCX and on clsact.
func modes(t *testing.T, test func(*testing.T, tc.Mode)) {
	for _, m := range []tc.Mode{tc.TCX, tc.Clsact} {
		t.Run(string(m), func(t *testing.T) {
			if m == tc.TCX {
				street.NeedTCX(t)
			}
			test(t, m)
		})
	}
}

const (
	wireName    = "wire0"
	listensAt   = "192.0.2.1:80"
	peerAddress = "192.0.2.7/32"
)

// served is a server here, and a client at the other end of a wire.
type served struct {
	t    testing.TB
	peer *wire.Peer
}

func newServed(t testing.TB) *served {
	t.Helper()
	wire.Enter(t)
	s := &served{t, wire.NewPeer(t)}
	s.peer.Veth(t, wireName)
	s.peer.EventuallyUp(t, "peer-"+wireName)
	server := wire.Echo(t, listensAt)
	t.Cleanup(func() { assert.NoError(t, server.Close()) })
	wire.Within(t, 10*time.Second, s.serves, "served before any block")
	return s
}

// serves tells whether the client gets a connection.
func (s *served) serves() (ok bool) {
	s.peer.In(func() {
		conn, err := net.DialTimeout("tcp", listensAt, wire.Patience(300*time.Millisecond))
		if err == nil {
			ok = conn.Close() == nil
		}
	})
	return ok
}

// owner is a process with a guard that blocks the client.
func (s *served) owner(m tc.Mode, open time.Duration) *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), processEnv+"="+strings.Join([]string{string(m), wireName, peerAddress, open.String()}, " "))
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoErrorf(s.t, err, "the process ended: %s", &log)
	require.Equal(s.t, "started\n", line)
	return cmd
}

// A guard whose owner is stopped or killed opens, wherever its program is.
func TestOpensWithoutItsOwner(t *testing.T) {
	modes(t, func(t *testing.T, m tc.Mode) {
		s := newServed(t)
		open := wire.Patience(time.Second)
		owner := s.owner(m, open)
		assert.False(t, s.serves(), "blocked")
		require.NoError(t, owner.Process.Signal(syscall.SIGSTOP))
		wire.Within(t, 10*time.Second, s.serves, "served while the owner is stopped")
		require.NoError(t, owner.Process.Signal(syscall.SIGCONT))
		wire.Within(t, 10*time.Second, func() bool { return !s.serves() }, "blocked when it goes on")
		require.NoError(t, owner.Process.Kill())
		wire.Within(t, 10*time.Second, s.serves, "served after the owner was killed")
	})
}

// A guard that ends well leaves nothing behind.
func TestLeavesNothingBehind(t *testing.T) {
	modes(t, func(t *testing.T, m tc.Mode) {
		s := newServed(t)
		b := newBench(t, func(o *Options) { o.IncludeInterfaces, o.TCMode = []string{wireName}, m })
		require.NoError(t, b.Start())
		assert.Equal(t, []string{wireName}, b.Interfaces())
		for _, state := range b.States() {
			assert.True(t, state.Attached, state.Hook)
			assert.NoError(t, state.Err)
		}
		b.put(peerAddress, Block{})
		assert.False(t, s.serves())
		assert.Positive(t, b.counted(peerAddress).Packets)
		require.NoError(t, b.Guard.attached.Remove())
		b.Guard.attached = nil
		assert.True(t, s.serves())
		link, err := netlink.LinkByName(wireName)
		require.NoError(t, err)
		qdiscs, err := netlink.QdiscList(link)
		require.NoError(t, err)
		for _, qdisc := range qdiscs {
			assert.NotEqual(t, "clsact", qdisc.Type())
		}
	})
}
