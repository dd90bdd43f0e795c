// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// TestOwnerThatChanges has a process that listens, as systemd-socket-activate does. Then it
// becomes its daemon, or moves into its container's cgroup. Only its listener is known, and no
// socket hook meets it again.
func TestOwnerThatChanges(t *testing.T) {
	for _, before := range []bool{true, false} {
		t.Run(fmt.Sprintf("before %t", before), func(t *testing.T) {
			enterNetNS(t)
			var k *kernel
			if !before {
				k = startProbe(t, testConfig())
			}
			launcher := act(t, "launcher", nil)
			var port uint16
			launcher.report(&port)
			if before {
				k = startProbe(t, testConfig())
			}
			k.until("listener", func() bool { _, ok := k.listenerOn(port); return ok })
			l, _ := k.listenerOn(port)
			require.EqualValues(t, launcher.cmd.Process.Pid, l.Owner.PID)
			last := func() owner.Sighting { return k.lastSighting(t, l.Owner.Key) }
			self, err := os.Executable()
			require.NoError(t, err)
			require.Equal(t, executableName(self), last().Executable)

			daemon := filepath.Join(t.TempDir(), "daemon")
			require.NoError(t, copyFile(self, daemon))
			launcher.order(daemon)
			var pid int
			launcher.report(&pid)
			require.Equal(t, launcher.cmd.Process.Pid, pid, "it is the same process")
			k.settle()
			assert.Equal(t, "daemon", last().Executable)

			group := newCgroup(t)
			require.NotEqual(t, group.id, last().Cgroup)
			group.join(t, pid)
			k.settle()
			assert.Equal(t, group.id, last().Cgroup)
			assert.Equal(t, "daemon", last().Executable)
			require.NoError(t, launcher.orders.Close())
			_ = launcher.cmd.Wait()
		})
	}
}

// A process that the receiver does not know is not announced, whatever it executes.
func TestOwnerUnknownThatChanges(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig())
	server := act(t, "launcher", nil)
	var port uint16
	server.report(&port)
	k.until("listener", func() bool { _, ok := k.listenerOn(port); return ok })
	known := len(k.processes)
	for range 20 {
		child := act(t, "nothing", nil)
		require.NoError(t, child.cmd.Wait())
	}
	k.settle()
	assert.Len(t, k.processes, known)
}

// If the ring buffer has no room, user space has old data about a process. The process is
// announced when a socket hook meets it again.
func TestOwnerThatChangesUnannounced(t *testing.T) {
	enterNetNS(t)
	k := startProbe(t, testConfig(func(c *Config) { c.RingBytes = 4096 }))
	key := shared.ProcessKey{Pid: uint32(os.Getpid()), Start: 0}
	l := listen(t, "tcp4", "127.0.0.1:0")
	k.until("listener", func() bool { _, ok := k.listenerOn(portOf(l.Addr())); return ok })
	listener, _ := k.listenerOn(portOf(l.Addr()))
	key.Start = listener.Owner.Start
	announced := k.probe.maps.Maps["processes"]
	var value uint8
	require.NoError(t, announced.Lookup(&key, &value))
	for range 60 { // more than 4 KiB hold
		listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, true)
	}
	newCgroup(t).join(t, os.Getpid())
	require.ErrorContains(t, announced.Lookup(&key, &value), "not exist")
	k.settle()
	known := len(k.processes)
	listenWith(t, unix.AF_INET, unix.IPPROTO_TCP, 1, true)
	k.until("process", func() bool { return len(k.processes) > known })
}

// lastSighting is the last announcement of a process.
func (k *kernel) lastSighting(t *testing.T, key owner.Key) owner.Sighting {
	t.Helper()
	for i := len(k.processes) - 1; i >= 0; i-- {
		if k.processes[i].Key == key {
			return k.processes[i]
		}
	}
	require.Failf(t, "not announced", "%+v of %+v", key, k.processes)
	return owner.Sighting{}
}

// playLauncher listens, and then executes the ordered program in its place.
func playLauncher(orders *json.Decoder, reports *json.Encoder) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(fd, 8); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("read the address: %w", err)
	}
	if err := reports.Encode(uint16(name.(*unix.SockaddrInet4).Port)); err != nil {
		return err
	}
	var daemon string
	if err := orders.Decode(&daemon); err != nil {
		return err
	}
	// The daemon has the socket.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		return fmt.Errorf("keep the socket: %w", err)
	}
	if err := os.Setenv(roleVariable, "daemon"); err != nil {
		return err
	}
	err = syscall.Exec(daemon, os.Args[:1], os.Environ())
	return fmt.Errorf("execute %s: %w", daemon, err)
}

// playDaemon stays until its orders end.
func playDaemon(_ *json.Decoder, reports *json.Encoder) error {
	if err := reports.Encode(os.Getpid()); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func playNothing(*json.Decoder, *json.Encoder) error { return nil }

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

// executableName is the part of the name that the kernel side copies.
func executableName(path string) string {
	name := filepath.Base(path)
	return name[:min(len(name), 63)]
}

// cgroup is one in the hierarchy that containers are known by here.
type cgroup struct {
	dir string
	id  uint64
}

// newCgroup creates a cgroup for the test. Its processes return to the root at the end.
func newCgroup(t *testing.T) cgroup {
	t.Helper()
	top := ""
	for _, root := range []string{"", "unified", "memory", "pids"} {
		dir := filepath.Join("/sys/fs/cgroup", root)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			top = dir
			break
		}
	}
	if top == "" {
		top = t.TempDir()
		require.NoError(t, unix.Mount("none", top, "cgroup2", 0, ""))
		t.Cleanup(func() { assert.NoError(t, unix.Unmount(top, unix.MNT_DETACH)) })
	}
	g := cgroup{dir: filepath.Join(top, "ebpf-tcp-"+strconv.Itoa(os.Getpid()))}
	require.NoError(t, os.Mkdir(g.dir, 0o755))
	t.Cleanup(func() {
		left, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
		require.NoError(t, err)
		var pid int
		if _, err := fmt.Sscan(string(left), &pid); err == nil {
			require.NoError(t, cgroup{dir: top}.add(pid))
		}
		assert.NoError(t, os.Remove(g.dir))
	})
	var stat unix.Stat_t
	require.NoError(t, unix.Stat(g.dir, &stat))
	g.id = stat.Ino
	return g
}

func (g cgroup) join(t *testing.T, pid int) {
	t.Helper()
	require.NoError(t, g.add(pid))
}

func (g cgroup) add(pid int) error {
	return os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}
