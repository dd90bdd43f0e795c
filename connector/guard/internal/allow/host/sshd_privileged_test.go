// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged

package host

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

const sshdConfiguration = `
Port %d
ListenAddress 127.0.0.1
HostKey %[2]s/host
AuthorizedKeysFile %[2]s/key.pub
StrictModes no
PidFile none
UsePAM %[3]s
PermitRootLogin yes
GatewayPorts yes
`

// address finds out which addresses are allowed.
func allowed(t require.TestingT) map[string]bool {
	entries, err := Sessions{}.Find()
	require.NoError(t, err)
	found := map[string]bool{}
	for _, e := range entries {
		found[e.Prefix.Addr().String()] = true
	}
	return found
}

// TestSessionsOfARealSSHD: who logs in with a key is allowed, as long as the session lasts. Who only holds the
// port open is not, and who uses a port that the session forwards is not either.
func TestSessionsOfARealSSHD(t *testing.T) {
	folder, err := os.MkdirTemp("/run", "guard")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(folder)) })
	require.NoError(t, os.Chmod(folder, 0o755))
	require.NoError(t, os.MkdirAll("/run/sshd", 0o755))
	for _, name := range []string{"host", "key"} {
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(folder, name)).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	for i, of := range []struct{ pam, user string }{{"no", "nobody"}, {"yes", "root"}} {
		t.Run(of.user, func(t *testing.T) {
			port := 40_022 + i
			config := filepath.Join(folder, "config-"+of.user)
			require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, sshdConfiguration, port, folder, of.pam), 0o600))
			begin(t, "/usr/sbin/sshd", "-D", "-e", "-f", config)
			guesser := hold(t, "127.0.0.2", port)
			require.Empty(t, allowed(t))

			end := begin(t, "ssh", "-N", "-b", "127.0.0.3", "-p", fmt.Sprint(port), "-i", filepath.Join(folder, "key"), "-F", "none",
				"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
				"-R", fmt.Sprintf("127.0.0.1:%d:127.0.0.1:9", port+10), of.user+"@127.0.0.1")
			eventually(t, func() bool { return allowed(t)["127.0.0.3"] })
			hold(t, "127.0.0.4", port+10)
			assert.Equal(t, map[string]bool{"127.0.0.3": true}, allowed(t))

			// A line of the protocol is no login.
			_, err := guesser.Write([]byte("SSH-2.0-guess\r\n"))
			require.NoError(t, err)
			assert.Equal(t, map[string]bool{"127.0.0.3": true}, allowed(t))
			end()
			eventually(t, func() bool { return len(allowed(t)) == 0 })
		})
	}
}

// begin starts a program that ends with the test, or earlier.
func begin(t *testing.T, name string, arguments ...string) func() {
	t.Helper()
	command := exec.Command(name, arguments...)
	command.Stderr = os.Stderr
	require.NoError(t, command.Start())
	ended := false
	end := func() {
		if !ended {
			ended = true
			_ = command.Process.Signal(syscall.SIGTERM)
			_ = command.Wait()
		}
	}
	t.Cleanup(end)
	return end
}

// hold opens a connection and waits for the process that serves it.
func hold(t *testing.T, from string, port int) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	var held net.Conn
	eventually(t, func() bool {
		var err error
		held, err = dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil
	})
	t.Cleanup(func() { _ = held.Close() })
	if port < 40_030 {
		require.NoError(t, held.SetReadDeadline(time.Now().Add(30*time.Second)))
		_, err := held.Read(make([]byte, 8))
		require.NoError(t, err, "sshd did not greet")
	}
	return held
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, time.Minute, 20*time.Millisecond)
}

// TestRoutesOfANamespace asks a real kernel, with a gateway in a table of its own.
func TestRoutesOfANamespace(t *testing.T) {
	require.NoError(t, testbed.InNewNetNS(func() error {
		for _, arguments := range [][]string{
			{"link", "set", "lo", "up"},
			{"link", "add", "d0", "type", "veth", "peer", "name", "d1"},
			{"link", "set", "d0", "up"},
			{"link", "set", "d1", "up"},
			{"address", "add", "192.0.2.1/24", "dev", "d0"},
			{"address", "add", "2001:db8::1/64", "dev", "d0", "nodad"},
			{"route", "add", "default", "via", "192.0.2.254"},
			{"-6", "route", "add", "default", "via", "2001:db8::fe"},
			{"route", "add", "203.0.113.0/24", "via", "192.0.2.253", "table", "100"},
			{"route", "add", "198.51.100.0/24", "nexthop", "via", "192.0.2.252", "nexthop", "via", "192.0.2.251"},
			{"route", "add", "198.18.0.0/15", "via", "inet6", "2001:db8::fd", "dev", "d0"},
			{"route", "add", "local", "10.9.0.0/16", "dev", "lo"},
		} {
			if out, err := exec.Command("ip", arguments...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %v: %w: %s", arguments, err, out)
			}
		}
		var a *Addresses
		own, gateways := map[string]bool{}, map[string]bool{}
		// The kernel makes an IPv6 address local a moment after it was added.
		for deadline := time.Now().Add(wire.Patience(10 * time.Second)); !own["2001:db8::1/128"] && time.Now().Before(deadline); {
			var err error
			if a, err = Routes(); err != nil {
				return err
			}
			for _, e := range a.Own {
				own[e.Prefix.String()] = true
			}
		}
		for _, e := range a.Gateways {
			gateways[e.Prefix.String()] = true
		}
		for _, want := range []string{"192.0.2.1/32", "2001:db8::1/128", "127.0.0.0/8", "10.9.0.0/16"} {
			assert.True(t, own[want], "%s is not in %v", want, own)
		}
		assert.Equal(t, map[string]bool{
			"192.0.2.254/32": true, "2001:db8::fe/128": true, "192.0.2.253/32": true, "192.0.2.252/32": true, "192.0.2.251/32": true, "2001:db8::fd/128": true,
		}, gateways)
		assert.ElementsMatch(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}, a.Networks)
		return nil
	}))
}
