// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// inhabitants are those whom nobody may lock out.
type inhabitants struct{ gateway, resolver, operator, checker netip.Addr }

// settleIn makes the client's host all of them.
func (g *guarded) settleIn(t *testing.T) inhabitants {
	t.Helper()
	of := inhabitants{nth(g.Client4, 60), nth(g.Client4, 61), nth(g.Client4, 62), nth(g.Client4, 63)}
	for _, a := range []netip.Addr{of.gateway, of.resolver, of.operator, of.checker} {
		g.client.ip(t, fmt.Sprintf("addr add %s/24 dev eth0", a))
	}
	g.server.ip(t, fmt.Sprintf("route add default via %s", of.gateway))
	// A program of a named namespace gets this file as its own.
	folder := filepath.Join("/etc/netns", string(g.server.Namespace))
	require.NoError(t, os.MkdirAll(folder, 0o755))
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(folder)) })
	require.NoError(t, os.WriteFile(filepath.Join(folder, "resolv.conf"), fmt.Appendf(nil, "nameserver %s\n", of.resolver), 0o644))
	return of
}

// logIn holds a session of ssh open, from an address.
func (g *guarded) logIn(t *testing.T, from netip.Addr) {
	t.Helper()
	require.NoError(t, os.MkdirAll("/run/sshd", 0o755))
	folder := t.TempDir()
	key := filepath.Join(folder, "key")
	run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	config := filepath.Join(folder, "config")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil,
		"Port 22\nHostKey %[1]s\nPidFile none\nUsePAM yes\nStrictModes no\nPermitRootLogin yes\nAuthorizedKeysFile %[1]s.pub\n", key), 0o600))
	server, err := lab.Start(g.server.Command("/usr/sbin/sshd", "-D", "-e", "-f", config))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Stop(syscall.SIGTERM)) })
	require.Eventually(t, func() bool {
		sockets, err := g.server.Run(t.Context(), "ss", "-Hltn", "sport", "=", ":22")
		return err == nil && sockets != ""
	}, settle, tick)
	g.attack(t, "ssh", "-N", "-b", from.String(), "-i", key, "-F", "none", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "root@"+g.Server4.String())
}

// sources are those of events, each once.
func (g *guarded) sources(t *testing.T, event string) []string {
	t.Helper()
	var all []string
	for _, r := range g.events(t, event) {
		if address, ok := r.values["client.address"].(string); ok {
			all = append(all, address)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// refused waits for the refusal of a source's block.
func (g *guarded) refused(t *testing.T, source netip.Addr, why string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(g.events(t, "block_refused"), func(r record) bool {
			return r.values["client.address"] == source.String() && r.values["tcp.block.refusal"] == why
		})
	}, settle, tick, "%s is %s", source, why)
}

// aDayLater makes what a storage says of sources that were served well 25 hours old, as if the host had
// been off for so long. The file has no checksum of it.
func aDayLater(t *testing.T, folder string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*guard*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	moment := regexp.MustCompile(`[0-9a-f-]{36} [0-9]+ ([0-9]{19})\nebtcpsrv`)
	found := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, at := range moment.FindAllSubmatchIndex(data, -1) {
			wall, err := strconv.ParseInt(string(data[at[2]:at[3]]), 10, 64)
			require.NoError(t, err)
			// Another boot, so that the wall clock counts.
			data[at[0]] ^= 1
			copy(data[at[2]:], strconv.FormatInt(wall-int64(25*time.Hour), 10))
			found++
		}
		require.NoError(t, os.WriteFile(file, data, 0o600))
	}
	require.NotZero(t, found)
}

// TestGuardLocksNobodyOut: nmap names the gateway, the resolver, the operator, a health checker and an
// ordinary client as its decoys, and scans in the name of each of them. Only the scanner is blocked.
func TestGuardLocksNobodyOut(t *testing.T) {
	needing(t, "refused")
	g := newGuarded(t)
	of := g.settleIn(t)
	g.logIn(t, of.operator)
	socket := filepath.Join(t.TempDir(), "socket")
	guards := guarding{
		guard: fmt.Sprintf("    socket: %s\n", socket) + "    mode: enforce\n    rules: [port_scan]\n    block_spoofable: {rules: [port_scan], interfaces: [eth0]}\n    shares: {window: 2s}\n",
		// So that each decoy has a finding of its own.
		threats: "    rules: {distributed_scan: {enabled: false}}\n",
		storage: t.TempDir(),
	}
	// What can be forged blocks nobody until a day is known.
	g.start(t, guards)
	g.agent.stop()
	aDayLater(t, guards.storage)
	g.start(t, guards)
	g.startNginx(t, 512)
	ordinary := g.visit(t)
	require.Eventually(t, func() bool { return ordinary.served.Load() > 60 }, settle, tick)
	g.client.run(t, "curl", "-sf", "-o", "/dev/null", "--interface", of.checker.String(), fmt.Sprintf("http://%s/", g.Server4))
	require.Eventually(t, func() bool {
		return strings.Contains(askGuard(t, socket, "why", of.operator.String())[0], "ssh_session")
	}, settle, tick)
	protected := []netip.Addr{of.gateway, of.resolver, of.operator, of.checker, g.neighbour}
	var decoys []string
	for _, a := range protected {
		decoys = append(decoys, a.String())
	}
	g.client.run(t, "nmap", "-n", "-Pn", "-sS", "-p", "1-100", "-D", strings.Join(append(decoys, "ME"), ","), g.Server4.String())
	for _, a := range protected[:4] {
		g.client.run(t, "nmap", "-n", "-Pn", "-sS", "-p", "101-200", "-e", "eth0", "-S", a.String(), g.Server4.String())
	}
	g.blocks(t, "port_scan", "enforce")
	for i, why := range []string{"allowed", "allowed", "allowed", "served_well", "served_well"} {
		g.refused(t, protected[i], why)
	}
	assert.Equal(t, []string{g.Client4.String()}, g.sources(t, "blocked"))
	ordinary.end()
	assert.Zero(t, ordinary.failed.Load(), "%v", ordinary.why.Load())
	for _, a := range protected {
		g.client.run(t, "curl", "-sf", "-o", "/dev/null", "--max-time", "5", "--interface", a.String(), fmt.Sprintf("http://%s/", g.Server4))
	}
}

// TestGuardKeepsTheOperator: who holds the port of sshd open and guesses is blocked, and the operator, who
// is logged in there, is not, even if his address guesses, too.
func TestGuardKeepsTheOperator(t *testing.T) {
	g := newGuarded(t)
	operator := g.neighbour
	g.logIn(t, operator)
	socket := filepath.Join(t.TempDir(), "socket")
	g.start(t, guarding{guard: noShares + fmt.Sprintf("    socket: %s\n    mode: enforce\n    rules: [login_guessing]\n", socket)})
	why := func(a netip.Addr) string { return askGuard(t, socket, "why", a.String())[0] }
	require.Eventually(t, func() bool { return strings.Contains(why(operator), "ssh_session") }, settle, tick)
	g.hold(t, 1, g.Client4, 22, "SSH-2.0-held\r\n", false)
	for _, from := range []netip.Addr{operator, g.Client4} {
		// hydra takes the address that the route names.
		g.client.ip(t, fmt.Sprintf("route replace %s/32 dev eth0 src %s", g.Server4, from))
		g.attack(t, "hydra", "-I", "-q", "-l", "admin", "-P", passwords(t, 200), fmt.Sprintf("ssh://%s", g.Server4))
		if from == operator {
			g.refused(t, operator, "allowed")
		}
	}
	g.blocks(t, "login_guessing", "enforce")
	assert.Contains(t, why(g.Client4), " blocked ")
	assert.Contains(t, why(operator), "ssh_session")
	assert.Len(t, g.events(t, "blocked"), 1)
}

// TestGuardSparesManyBehindOneAddress: who guesses passwords behind the address of 500 others is
// reported, and the address is not blocked.
func TestGuardSparesManyBehindOneAddress(t *testing.T) {
	needing(t, "refused")
	g := newGuarded(t)
	g.start(t, guarding{guard: "    mode: enforce\n    rules: [http_auth]\n    shares: {window: 1m}\n", receiver: "    inspect: {http: {ports: [80]}}\n"})
	g.startNginx(t, 512)
	url := fmt.Sprintf("http://%s/", g.Server4)
	g.client.run(t, "ab", "-q", "-n", "500", "-c", "10", "-B", g.neighbour.String(), url)
	for range 20 {
		g.client.run(t, "curl", "-s", "-o", "/dev/null", "--interface", g.neighbour.String(), "-u", "admin:guess", url+"private")
	}
	g.refused(t, g.neighbour, "shared")
	assert.NotEmpty(t, g.threats(t, "begin"))
	assert.Empty(t, g.events(t, "blocked"))
}

// TestGuardFollowsAHoppingAttacker: another address of the same /64 for each guess is one source, which is
// blocked once.
func TestGuardFollowsAHoppingAttacker(t *testing.T) {
	needing(t, "refused")
	g := newGuarded(t)
	const pool = "2001:db8:0:7::/64"
	g.server.ip(t, fmt.Sprintf("-6 route add %s via %s", pool, g.Client6))
	g.client.ip(t, fmt.Sprintf("-6 route add local %s dev lo", pool))
	g.client.run(t, "sysctl", "-qw", "net.ipv6.ip_nonlocal_bind=1")
	g.start(t, guarding{guard: noShares + "    mode: enforce\n    rules: [http_auth]\n", receiver: "    inspect: {http: {ports: [80]}}\n"})
	g.startNginx(t, 512)
	guess := func(i int) bool {
		_, err := g.client.Run(t.Context(), "curl", "-s", "-o", "/dev/null", "--max-time", "1", "--interface", fmt.Sprintf("2001:db8:0:7::%x", i+1),
			"-u", "admin:guess", fmt.Sprintf("http://[%s]/private", g.Server6))
		return err == nil
	}
	i := 0
	require.True(t, guess(i))
	require.Eventually(t, func() bool { i++; return !guess(i) }, settle, tick, "blocked")
	for range 3 {
		i++
		assert.False(t, guess(i))
	}
	require.Eventually(t, func() bool { return len(g.events(t, "blocked")) > 0 }, settle, tick)
	blocked := g.events(t, "blocked")
	assert.Len(t, blocked, 1)
	assert.Equal(t, pool, blocked[0].values["tcp.source.prefix"])
}
