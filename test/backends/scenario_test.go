// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package backends

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// Ports of the services, and one that is closed.
const (
	webPort      = 29300 + iota // nginx
	closerPort                  // closes first
	waiterPort                  // lets the client close
	resetterPort                // resets
	slowPort                    // is slow to accept
	deafPort                    // accepts nobody
	boxedPort                   // in a cgroup that looks like a container's
	againPort                   // listens, ends, and listens again
	hostilePort                 // has a hostile name
	closedPort
)

// How many connections or attempts each gets.
const (
	goodVisits, badVisits                 = 100, 25 // of nginx
	webVisits, closerVisits, waiterVisits = goodVisits + badVisits, 100, 40
	resetterVisits, slowVisits            = 15, 10
	boxedVisits, againVisits              = 20, 100
	deafCallers, deafBacklog              = 6, 2
	knocks, halfOpen                      = 30, 12
	hostileVisits, heldVisits             = 5, 20
)

// hostile is the name of an executable, and shown what is left of it: quotes, markup and braces stay,
// an escape sequence, a newline and a byte that is not UTF-8 do not.
const (
	hostile = "e\"v'il<b>{x=~\".*\"} \x1b[31m\n\xff"
	shown   = "e\"v'il<b>{x=~\".*\"} \uFFFD[31m\uFFFD\uFFFD"
)

// town is a server and its clients, in namespaces, with what was done.
type town struct {
	*lab.Network
	t *testing.T
	// executables are hard links to this binary, by the name of the service.
	executables map[string]string
	folder      string
	// did is what clients did, by port.
	did map[int]visits
}

// pool are the clients' addresses. What is sent to those of silent has no answer.
var pool, silent = netip.MustParsePrefix("10.214.7.0/29"), netip.MustParsePrefix("10.215.7.0/29")

func newTown(t *testing.T) *town {
	t.Helper()
	network, err := lab.NewNetwork(7)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, network.Close()) })
	require.NoError(t, network.GiveClient(pool))
	require.NoError(t, network.RouteToClient(silent))
	return &town{Network: network, t: t, folder: t.TempDir(), did: map[int]visits{}, executables: map[string]string{}}
}

// named is this binary under the name of a service, which becomes process.executable.name.
func (w *town) named(service string) string {
	w.t.Helper()
	if path, ok := w.executables[service]; ok {
		return path
	}
	self, err := os.Executable()
	require.NoError(w.t, err)
	path := filepath.Join(w.folder, service)
	require.NoError(w.t, os.Link(self, path))
	w.executables[service] = path
	return path
}

// serve starts a service and waits until it listens.
func (w *town) serve(service, role string, arguments ...string) *lab.Actor {
	w.t.Helper()
	server, err := lab.StartActor(role, w.Server.Command(w.named(service), arguments...))
	require.NoError(w.t, err)
	w.t.Cleanup(server.End)
	require.NoError(w.t, server.Ready(w.t.Context()))
	return server
}

// open starts all services but the one that listens again.
func (w *town) open() {
	w.t.Helper()
	nginx, err := lab.StartWebServer(w.t.Context(), w.Server, lab.WebConfiguration{
		Main: "worker_processes 1;", Connections: 512, Port: webPort,
		HTTP: fmt.Sprintf("server { listen %d; location / { return 200 hello; } location /bad { return 503; } }", webPort),
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { assert.NoError(w.t, nginx.Close()) })
	for manner, port := range map[string]int{"end": closerPort, "wait": waiterPort, "reset": resetterPort, "slow": slowPort} {
		name := map[string]string{"end": "closer", "wait": "waiter", "reset": "resetter", "slow": "slow"}[manner]
		w.serve(name, "serve", manner, w.At(port).String())
	}
	w.serve("deaf", "deaf", w.At(deafPort).String(), strconv.Itoa(deafBacklog))
	w.serve(hostile, "serve", "end", w.At(hostilePort).String())
	w.joinContainer(w.serve("boxed", "serve", "end", w.At(boxedPort).String()))
}

// visit makes connections from several addresses.
func (w *town) visit(port, count int, path string) {
	w.t.Helper()
	visitors, err := w.Client.Act("visit", w.At(port).String(), strconv.Itoa(count), pool.String(), path)
	require.NoError(w.t, err)
	defer visitors.End()
	var did visits
	require.NoError(w.t, visitors.Result(&did))
	require.EqualValues(w.t, count, did.Done+did.Failed)
	sum := w.did[port]
	sum.Done, sum.Failed = sum.Done+did.Done, sum.Failed+did.Failed
	sum.Sent, sum.Received = sum.Sent+did.Sent, sum.Received+did.Received
	w.did[port] = sum
}

// live does everything that the tests ask about.
func (w *town) live() {
	w.t.Helper()
	for port, count := range map[int]int{
		webPort: goodVisits, closerPort: closerVisits, waiterPort: waiterVisits,
		resetterPort: resetterVisits, slowPort: slowVisits, boxedPort: boxedVisits,
		hostilePort: hostileVisits,
	} {
		path := "/"
		if port == waiterPort {
			path = leavePath
		}
		w.visit(port, count, path)
	}
	w.visit(webPort, badVisits, "/bad")
	require.EqualValues(w.t, resetterVisits, w.did[resetterPort].Failed)
	callers, err := w.Client.Act("call", w.At(deafPort).String(), strconv.Itoa(deafCallers))
	require.NoError(w.t, err)
	w.t.Cleanup(callers.End)
	require.NoError(w.t, callers.Ready(w.t.Context()))
	require.Equal(w.t, lab.Work{Failed: knocks}, w.work("knock", w.At(closedPort).String(), strconv.Itoa(knocks)))
	require.Equal(w.t, lab.Work{Done: halfOpen}, w.work("syn", w.At(webPort).String(), strconv.Itoa(halfOpen), silent.String()))
}

// work has the client play a role to its end, and returns what that did.
func (w *town) work(role string, arguments ...string) lab.Work {
	w.t.Helper()
	worker, err := w.Client.Act(role, arguments...)
	require.NoError(w.t, err)
	defer worker.End()
	var did lab.Work
	require.NoError(w.t, worker.Result(&did))
	return did
}

// container is the id of the one container.
const container = "c0ffee5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80910"

// newGroup makes a cgroup. One that a killed run left behind is removed first.
func newGroup(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the cgroup of an earlier run, which may still have processes: %w", err)
	}
	return os.Mkdir(path, 0o755)
}

// TestNewGroup: a run that was killed costs the next nothing.
func TestNewGroup(t *testing.T) {
	group := filepath.Join(t.TempDir(), "docker")
	for range 2 {
		require.NoError(t, newGroup(group))
	}
	require.NoError(t, os.Mkdir(filepath.Join(group, "used"), 0o755))
	require.ErrorContains(t, newGroup(group), "an earlier run")
}

// joinContainer moves a server to cgroups with the path that Docker gives, of v1 or v2.
func (w *town) joinContainer(server *lab.Actor) {
	w.t.Helper()
	joined := 0
	for _, root := range []string{"", "unified", "memory", "pids"} {
		top := filepath.Join("/sys/fs/cgroup", root)
		if _, err := os.Stat(filepath.Join(top, "cgroup.procs")); err != nil {
			continue
		}
		parent := filepath.Join(top, "docker")
		group := filepath.Join(parent, container)
		made := os.Mkdir(parent, 0o755) == nil
		require.NoError(w.t, newGroup(group))
		w.t.Cleanup(func() {
			server.End() // a group in use can't be removed
			assert.Eventually(w.t, func() bool { return os.Remove(group) == nil }, settle, tick)
			if made {
				_ = os.Remove(parent)
			}
		})
		require.NoError(w.t, os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(server.PID())), 0o644))
		joined++
	}
	require.Positive(w.t, joined, "no cgroup hierarchy found")
}
