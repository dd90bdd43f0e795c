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
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

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

// keys makes a folder with a key of the host and one of the user.
func keys(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/run", "guard")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(folder)) })
	require.NoError(t, os.Chmod(folder, 0o755))
	require.NoError(t, os.MkdirAll("/run/sshd", 0o755))
	for _, name := range []string{"host", "key"} {
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(folder, name)).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	return folder
}

// logIn begins a session from 127.0.0.3 that forwards a port.
func logIn(t *testing.T, folder, user string, port int) (end func()) {
	t.Helper()
	return begin(t, "ssh", "-N", "-b", "127.0.0.3", "-p", fmt.Sprint(port), "-i", filepath.Join(folder, "key"), "-F", "none",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
		"-R", fmt.Sprintf("127.0.0.1:%d:127.0.0.1:9", port+10), user+"@127.0.0.1")
}

// logins are those that are tried: without PAM the uid tells, with it the login uid.
var logins = []struct{ pam, user string }{{"no", "nobody"}, {"yes", "root"}}

// TestSessionsOfARealSSHD: who logs in with a key is allowed, as long as the session lasts. Who only holds the
// port open is not, and who uses a port that the session forwards is not either.
func TestSessionsOfARealSSHD(t *testing.T) {
	folder := keys(t)
	for i, of := range logins {
		t.Run(of.user, func(t *testing.T) {
			// Below the ports that the kernel gives to clients.
			port := 12_022 + i
			config := filepath.Join(folder, "config-"+of.user)
			require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, sshdConfiguration, port, folder, of.pam), 0o600))
			begin(t, "/usr/sbin/sshd", "-D", "-e", "-f", config)
			guesser := hold(t, "127.0.0.2", port)
			require.Empty(t, allowed(t))

			end := logIn(t, folder, of.user, port)
			eventually(t, func() bool { return allowed(t)["127.0.0.3"] })
			hold(t, "127.0.0.4", port+10)
			assert.Equal(t, map[string]bool{"127.0.0.3": true}, allowed(t))

			// A line of the protocol is no login.
			_, err := guesser.Write([]byte("SSH-2.0-guess\r\n"))
			require.NoError(t, err)
			assert.Equal(t, map[string]bool{"127.0.0.3": true}, allowed(t))
			withoutPtrace(t, func() {
				found, err := Sessions{}.Find()
				assert.ErrorIs(t, err, errHidden)
				assert.Empty(t, found)
			})
			end()
			eventually(t, func() bool { return len(allowed(t)) == 0 })
		})
	}
}

// TestSessionsWithoutAListeningSSHD: the same where another program listens, and starts an sshd for each
// connection, as systemd does with sshd@.service.
func TestSessionsWithoutAListeningSSHD(t *testing.T) {
	folder := keys(t)
	for i, of := range logins {
		t.Run(of.user, func(t *testing.T) {
			port := 12_024 + i
			config := filepath.Join(folder, "config-"+of.user)
			require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, sshdConfiguration, port, folder, of.pam), 0o600))
			listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			require.NoError(t, err)
			var serving sync.WaitGroup
			serving.Go(func() { serve(t, listener, config, &serving) })
			t.Cleanup(serving.Wait)
			t.Cleanup(func() { assert.NoError(t, listener.Close()) })
			hold(t, "127.0.0.2", port)
			require.Empty(t, allowed(t))

			end := logIn(t, folder, of.user, port)
			eventually(t, func() bool { return allowed(t)["127.0.0.3"] })
			hold(t, "127.0.0.4", port+10)
			assert.Equal(t, map[string]bool{"127.0.0.3": true}, allowed(t))
			end()
			eventually(t, func() bool { return len(allowed(t)) == 0 })
		})
	}
}

// serve starts an sshd for each connection, until the listener is closed. Each ends with its connection.
func serve(t *testing.T, listener net.Listener, config string, serving *sync.WaitGroup) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		file, err := conn.(*net.TCPConn).File()
		_ = conn.Close()
		if !assert.NoError(t, err) {
			continue
		}
		command := exec.Command("/usr/sbin/sshd", "-i", "-f", config)
		command.Stdin, command.Stdout = file, file
		assert.NoError(t, command.Start())
		_ = file.Close()
		serving.Go(func() { _ = command.Wait() })
	}
}

// withoutPtrace calls a function on a thread that lacks CAP_SYS_PTRACE, and ends with it.
func withoutPtrace(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		data[0].Effective &^= 1 << unix.CAP_SYS_PTRACE
		data[0].Permitted &^= 1 << unix.CAP_SYS_PTRACE
		if err == nil {
			err = unix.Capset(&header, &data[0])
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	require.NoError(t, <-done)
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
	if port < 12_030 {
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
