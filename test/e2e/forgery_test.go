// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// forgedAddress is one that the forger has not been given.
const forgedAddress = "203.0.113.66"

// startForger starts a server as the user nobody, in namespaces that this user made, at an
// address that he chose, and under the name of another program.
func startForger(t *testing.T, port int) namespace {
	t.Helper()
	dir := t.TempDir()
	// Nobody has to reach it.
	for at := dir; at != os.TempDir(); at = filepath.Dir(at) {
		require.NoError(t, os.Chmod(at, 0o755))
	}
	program := filepath.Join(dir, "sshd")
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, exec.Command("cp", self, program).Run())
	forger := startActor(t, "server", exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
		"unshare", "--user", "--map-root-user", "--net", "sh", "-c",
		"ip link set lo up && ip addr add "+forgedAddress+"/32 dev lo && exec \"$0\" \"$1\"",
		program, fmt.Sprintf("[::]:%d", port)))
	forger.ready(t)
	ns := namespace{lab.Namespace(fmt.Sprintf("ebpftcp-f%d-%d", os.Getpid(), networks.Add(1)))}
	run(t, "ip", "netns", "attach", string(ns.Namespace), fmt.Sprint(forger.PID()))
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", string(ns.Namespace)).Run() })
	return ns
}

// TestForgedHost lets a user without privileges serve the host's port, at any address and
// under any name. It is never taken for the host, and two scopes leave it out.
func TestForgedHost(t *testing.T) {
	const genuine, made, forged = 5, 3, 20
	host, err := os.Hostname()
	require.NoError(t, err)
	for i, test := range []struct {
		scope string
		// want counts the connections by their owner. The scope "" is the default, all.
		want map[string]int
	}{
		{"", map[string]int{"host": genuine, "root's": made, "forger's": forged}},
		{"initial_user_namespace", map[string]int{"host": genuine, "root's": made}},
		{"host", map[string]int{"host": genuine}},
	} {
		t.Run("scope "+test.scope, func(t *testing.T) {
			port, settings := 28330+i, ""
			if test.scope != "" {
				settings = "\n    connections: {scope: " + test.scope + "}"
			}
			forger, n := startForger(t, port), newNetwork(t)
			namespace{}.startServer(t, port)
			n.server.startServer(t, port)
			out := startSink(t, namespace{})
			agent := startAgent(t, out.endpoint, agentSettings{
				receiver: fmt.Sprintf("    ports: {include: [%d]}%s", port, settings),
			})
			connect := func(number int, from namespace, to string) {
				for range number {
					c := from.dial(t, netip.AddrPortFrom(netip.MustParseAddr(to), uint16(port)))
					c.do(step{Ask: ask{Reply: 100, Then: fin}}).do(step{End: eof})
				}
			}
			connect(forged, forger, forgedAddress)
			connect(made, n.client, n.Server4.String())
			connect(genuine, namespace{}, "127.0.0.1")

			names := map[any]string{
				host: "host",
				fmt.Sprintf("%s/netns/%d", host, n.server.inode(t)): "root's",
				fmt.Sprintf("%s/netns/%d", host, forger.inode(t)):   "forger's",
			}
			closes := func() map[string]int {
				found := map[string]int{}
				for _, r := range out.records(t, at("tcp.server.connection.close", port)) {
					instance := r.values["service.instance.id"]
					if instance != nil && names[instance] == "" {
						names[instance] = fmt.Sprint(instance)
					}
					found[names[instance]]++
				}
				return found
			}
			assert.Eventually(t, func() bool { return assert.ObjectsAreEqual(test.want, closes()) }, settle, tick, "closes")
			agent.stop()
			out.stop()
			assert.Equal(t, test.want, closes())
			opened := map[string]int{}
			for _, p := range out.points(t, of("connection.opened", port)) {
				opened[names[p.values["service.instance.id"]]] += int(p.value)
			}
			assert.Equal(t, test.want, opened)
			for _, r := range out.records(t, at("tcp.server.connection.close", port)) {
				if r.values["server.address"] == forgedAddress {
					assert.Equal(t, "forger's", names[r.values["service.instance.id"]], "a forged record is the host's")
					assert.Equal(t, "sshd", r.values["process.executable.name"])
				}
			}
		})
	}
}
