// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/packets"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// scarceMemlock is the limit that processes had by default before 5.16.
const scarceMemlock = 64 << 10

// chargesMemlock reports whether maps and programs count for RLIMIT_MEMLOCK, as before 5.11.
func chargesMemlock(t *testing.T) bool {
	t.Helper()
	var name unix.Utsname
	require.NoError(t, unix.Uname(&name))
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	require.NoError(t, err)
	return major == 5 && minor < 11
}

// enoughMemlock raises this process's limit for its children, where it matters.
func enoughMemlock(t *testing.T) uint64 {
	t.Helper()
	if !chargesMemlock(t) {
		return scarceMemlock
	}
	all := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_MEMLOCK, &all))
	return unix.RLIM_INFINITY
}

func without(c capability.Capability) []capability.Capability {
	return slices.DeleteFunc(capability.Required(), func(other capability.Capability) bool { return other == c })
}

// TestPrivilegeLeast runs a probe as another user with three capabilities beside one of root.
// It gets the same, except where its hooks name a missing capability.
func TestPrivilegeLeast(t *testing.T) {
	enterNetNS(t)
	memlock := enoughMemlock(t)
	root := observe(t, nil, memlock)
	least := observe(t, as(anybody, capability.Required()...), memlock)
	assert.Equal(t, capability.Set(1<<capability.BPF|1<<capability.Perfmon|1<<capability.NetAdmin), least.Held)

	attached := 0
	for _, hook := range root.Hooks {
		if hook.Attached {
			attached++
			least.hasOrLacks(t, hook, "tracepoint/syscalls/", "kprobe/")
		}
	}
	assert.Greater(t, attached, 10, "hooks of root")
	least.checkConnections(t, root)
}

// hasOrLacks checks that only hooks of these kinds are missing, and say what they lack.
func (o *observed) hasOrLacks(t *testing.T, hook hookReport, mayLack ...string) {
	t.Helper()
	if o.has(hook) {
		return
	}
	kind := slices.ContainsFunc(mayLack, func(kind string) bool { return strings.HasPrefix(hook.Name, kind) })
	assert.Truef(t, kind, "%s (%s) is not attached: %s", hook.Name, hook.Gives, o.whyNot(hook))
	assert.Regexp(t, `CAP_[A-Z_]+ (is|are) missing`, o.whyNot(hook))
}

func (o *observed) has(hook hookReport) bool {
	return slices.ContainsFunc(o.Hooks, func(other hookReport) bool {
		return other.Name == hook.Name && other.Gives == hook.Gives && other.Attached
	})
}

// whyNot returns the errors of the hooks that provide the same.
func (o *observed) whyNot(hook hookReport) string {
	var all []string
	for _, other := range o.Hooks {
		if other.Gives == hook.Gives && !other.Attached {
			all = append(all, other.Err)
		}
	}
	return strings.Join(all, "\n")
}

// observed is what a probe reported of one exchange, and what its peers know.
type observed struct {
	probeReport
	server  netip.AddrPort
	clients []netip.AddrPort
}

const exchangeReceived, exchangeTransmitted = 1000, 20000

// observe runs a probe while two connections to root's listener end. One of them was open
// before the probe.
func observe(t *testing.T, attributes *syscall.SysProcAttr, memlock uint64) *observed {
	t.Helper()
	l := listen(t, "tcp4", "127.0.0.1:0")
	o := &observed{server: netip.MustParseAddrPort(l.Addr().String())}
	before, beforeServer := connect(t, l, "127.0.0.1")
	a := act(t, "probe", attributes)
	a.order(probeOrder{Memlock: memlock, Port: o.server.Port()})
	a.report(&o.probeReport)
	if o.New != "" || o.Start != "" {
		return o
	}
	client, server := connect(t, l, "127.0.0.1")
	o.clients = append(o.clients, addressOf(before), addressOf(client))
	send(t, before, beforeServer, exchangeReceived)
	send(t, beforeServer, before, exchangeTransmitted)
	finish(t, before, beforeServer)
	send(t, client, server, exchangeReceived)
	send(t, server, client, exchangeTransmitted)
	finish(t, client, server)
	a.order(probeOrder{Closes: 2})
	a.report(&o.probeReport)
	return o
}

func addressOf(c interface{ LocalAddr() net.Addr }) netip.AddrPort {
	return c.LocalAddr().(*net.TCPAddr).AddrPort()
}

// checkConnections compares reports with what happened, and owners with those that root finds.
func (o *observed) checkConnections(t *testing.T, root *observed) {
	t.Helper()
	require.Len(t, o.Closed, 2)
	require.Len(t, root.Closed, 2)
	for i, adopted := range []bool{true, false} {
		closed := o.Closed[i]
		assert.Equal(t, o.clients[i], closed.Client)
		assert.Equal(t, o.server, closed.Server)
		assert.Equal(t, adopted, closed.Adopted)
		assert.Equal(t, connection.CloseClientFIN.String(), closed.Reason.String())
		assert.EqualValues(t, exchangeReceived, closed.ReceivedBytes)
		assert.EqualValues(t, exchangeTransmitted, closed.TransmittedBytes)
		assert.Positive(t, closed.SmoothedRTT)
		// Root's process, whose files are closed to others.
		assert.EqualValues(t, os.Getpid(), closed.Owner.PID)
		assert.Equal(t, root.executable(closed.Owner.Key), o.executable(closed.Owner.Key))
		assert.Equal(t, filepath.Base(executable(t)), o.executable(closed.Owner.Key))
	}
	// Holders of descriptors are found in another user's process, too.
	assert.Equal(t, root.Closed[0].Owner, o.Closed[0].Owner)
}

// executable is the kernel side's name of a process.
func (o *observed) executable(key owner.Key) string {
	for _, process := range o.Processes {
		if process.Key == key {
			return process.Executable
		}
	}
	return ""
}

func executable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

// TestPrivilegeWithoutNetAdmin: only packets are missing, and both directions say so in the
// same words.
func TestPrivilegeWithoutNetAdmin(t *testing.T) {
	enterNetNS(t)
	memlock := enoughMemlock(t)
	least := observe(t, as(anybody, capability.Required()...), memlock)
	o := observe(t, as(anybody, without(capability.NetAdmin)...), memlock)
	directions := 0
	for _, hook := range least.Hooks {
		if hook.Gives == packets.Gives {
			directions++
			assert.Contains(t, o.whyNot(hook), "CAP_NET_ADMIN is missing: ")
		} else if hook.Attached {
			assert.Truef(t, o.has(hook), "%s: %s", hook.Name, o.whyNot(hook))
		}
	}
	assert.Equal(t, int(tc.Directions), directions)
	assert.Empty(t, o.Warnings, "the hooks tell")
	o.checkConnections(t, least)
}

// TestPrivilegeRefused: a failed start says in one line what is missing.
func TestPrivilegeRefused(t *testing.T) {
	tests := []struct {
		name       string
		held       []capability.Capability
		new, start string
	}{
		{name: "nothing", new: "create the maps: CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are missing: operation not permitted"},
		{
			name: "CAP_NET_ADMIN alone", held: []capability.Capability{capability.NetAdmin},
			new: "create the maps: CAP_BPF and CAP_PERFMON are missing: operation not permitted",
		},
		{
			name: "CAP_BPF alone", held: []capability.Capability{capability.BPF},
			start: "no hook of the kernel could be attached: CAP_NET_ADMIN and CAP_PERFMON are missing: operation not permitted",
		},
		{
			name: "all but CAP_PERFMON", held: without(capability.Perfmon),
			start: "no hook of the kernel could be attached: CAP_PERFMON is missing: operation not permitted",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			enterNetNS(t)
			o := observe(t, as(anybody, test.held...), enoughMemlock(t))
			assert.Equal(t, test.new, o.New)
			assert.Equal(t, test.start, o.Start)
		})
	}
}

// TestPrivilegeMemlock: kernels that charge maps to RLIMIT_MEMLOCK report it, others ignore it.
func TestPrivilegeMemlock(t *testing.T) {
	enterNetNS(t)
	charged := chargesMemlock(t)
	o := observe(t, as(anybody, capability.Required()...), scarceMemlock)
	want := ""
	if charged {
		want = "create the maps: CAP_SYS_RESOURCE is missing to raise RLIMIT_MEMLOCK above 64 KiB: operation not permitted"
		more := observe(t, as(anybody, append(capability.Required(), capability.SysResource)...), scarceMemlock)
		assert.Empty(t, more.New)
		assert.Len(t, more.Closed, 2)
	}
	assert.Equal(t, want, o.New)
}

// TestPrivilegeUserNamespace: its root has every capability, but none of them counts.
func TestPrivilegeUserNamespace(t *testing.T) {
	enterNetNS(t)
	mapping := []syscall.SysProcIDMap{{ContainerID: 0, HostID: anybody, Size: 1}}
	o := observe(t, &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: mapping, GidMappings: mapping,
		Credential: &syscall.Credential{NoSetGroups: true},
	}, enoughMemlock(t))
	assert.True(t, o.Held.Has(capability.BPF))
	assert.Contains(t, o.New+o.Start, "the capabilities of a user namespace do not count")
}

// TestPrivilegeSyscallTracepoint: their numbers are in tracefs, which only root can read, and
// Debian's kernels reserve perf events for CAP_SYS_ADMIN.
func TestPrivilegeSyscallTracepoint(t *testing.T) {
	version, err := os.ReadFile("/proc/version")
	require.NoError(t, err)
	stricter := ""
	if strings.Contains(string(version), "Debian") {
		stricter = "open the perf event: CAP_SYS_ADMIN is missing, for kernel.perf_event_paranoid is 3: permission denied"
	}
	const read = "open /sys/kernel/tracing/events/syscalls/sys_exit_accept/id: "
	tests := []struct {
		name     string
		more     []capability.Capability
		mounted  bool
		paranoid int
		want     string
	}{
		{"tracefs is not mounted", nil, false, 2, "CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH are missing: operation not permitted"},
		{"tracefs is mounted", nil, true, 2, "CAP_DAC_READ_SEARCH is missing: permission denied"},
		{"with CAP_DAC_READ_SEARCH", []capability.Capability{capability.DACReadSearch}, true, 2, ""},
		{"with CAP_DAC_READ_SEARCH, paranoid", []capability.Capability{capability.DACReadSearch}, true, 3, stricter},
		{"with both, paranoid", []capability.Capability{capability.DACReadSearch, capability.SysAdmin}, false, 3, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			enterNetNS(t)
			enoughMemlock(t)
			setParanoid(t, test.paranoid)
			unmountTracefs(t)
			if test.mounted {
				require.NoError(t, unix.Mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, ""))
			}
			a := act(t, "tracepoint", as(anybody, append(capability.Required(), test.more...)...))
			var got string
			a.report(&got)
			_, got, _ = strings.Cut(got, "attach tracepoint/syscalls/sys_exit_accept: ")
			assert.Equal(t, test.want, strings.TrimPrefix(got, read))
		})
	}
}

func setParanoid(t *testing.T, level int) {
	t.Helper()
	const path = "/proc/sys/kernel/perf_event_paranoid"
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, strconv.AppendInt(nil, int64(level), 10), 0))
	t.Cleanup(func() {
		assert.NoError(t, os.WriteFile(path, before, 0))
	})
}

// unmountTracefs hides tracefs from the test's thread and its children.
func unmountTracefs(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	require.NoError(t, unix.Unshare(unix.CLONE_NEWNS))
	require.NoError(t, unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
	for unix.Unmount("/sys/kernel/tracing", unix.MNT_DETACH) == nil {
	}
}

// TestPrivilegeOtherProcesses: facts from a process's files and namespaces need capabilities,
// which one warning names.
func TestPrivilegeOtherProcesses(t *testing.T) {
	needing(t, "live", "orphan", "existing_listener")
	enterNetNS(t)
	server := act(t, "server", nil)
	var port uint16
	server.report(&port)
	netns := netNSOfProcess(t, server.cmd.Process.Pid)
	enterNetNS(t)

	tests := []struct {
		name       string
		held       []capability.Capability
		allowed    bool
		executable string
	}{
		{"least", capability.Required(), false, serverName},
		{"CAP_SYS_PTRACE", append(capability.Required(), capability.SysPtrace), false, filepath.Base(executable(t))},
		{"CAP_SYS_ADMIN", append(capability.Required(), capability.SysAdmin), false, serverName},
		{"both", append(capability.Required(), capability.SysPtrace, capability.SysAdmin), true, filepath.Base(executable(t))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := act(t, "probe", as(anybody, test.held...))
			var report probeReport
			a.order(probeOrder{Memlock: enoughMemlock(t), Port: port})
			a.report(&report)
			require.Empty(t, report.New+report.Start)
			a.order(probeOrder{LookUp: owner.Key{PID: uint32(server.cmd.Process.Pid), Start: startTime(t, server.cmd.Process.Pid)}})
			a.report(&report)

			waiting := slices.ContainsFunc(report.Live, func(l connection.Live) bool { return l.NetNS == netns })
			assert.Equal(t, test.allowed, waiting, "the connection that waits to be accepted")
			if test.allowed {
				assert.Empty(t, report.Warnings)
			} else if assert.Len(t, report.Warnings, 1) {
				assert.Contains(t, report.Warnings[0], "that no process holds")
				assert.Regexp(t, `CAP_SYS_(PTRACE|ADMIN)( and CAP_SYS_ADMIN are| is) missing`, report.Warnings[0])
			}
			require.NotNil(t, report.LookedUp)
			assert.Equal(t, test.executable, report.LookedUp.Executable)
		})
	}
}

func netNSOfProcess(t *testing.T, pid int) uint32 {
	t.Helper()
	inode, err := netns.OfProcess(uint32(pid))
	require.NoError(t, err)
	return inode
}

// startTime is a process's, in nanoseconds of the boot clock.
func startTime(t *testing.T, pid int) uint64 {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(stat), ") ")
	ticks, err := strconv.ParseUint(strings.Fields(rest)[22-3], 10, 64)
	require.NoError(t, err)
	return ticks * 10_000_000
}
