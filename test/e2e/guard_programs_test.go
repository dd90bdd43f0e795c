// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// write makes the files of a folder.
func write(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
}

// daemon runs a program in the server's namespace until the test ends, and waits until another one gets
// an answer of it.
func (g *guarded) daemon(t *testing.T, asks, command []string) {
	t.Helper()
	running, err := lab.Start(g.server.Command(command[0], command[1:]...))
	require.NoError(t, err)
	t.Cleanup(func() { _ = running.Stop(syscall.SIGTERM) })
	require.Eventually(t, func() bool {
		_, err := g.server.Run(t.Context(), asks[0], asks[1:]...)
		return err == nil
	}, settle, tick, "%s", running.Output())
}

// startFail2ban has a jail that writes a list, and returns how to tell it something.
func (g *guarded) startFail2ban(t *testing.T, list string) (client []string) {
	t.Helper()
	folder := t.TempDir()
	action, err := os.ReadFile("../../deploy/fail2ban/ebpf-tcp.conf")
	require.NoError(t, err)
	write(t, folder, map[string]string{
		"log": "", "filter.d/none.conf": "", "action.d/ebpf-tcp.conf": string(action),
		"jail.conf": fmt.Sprintf("[doors]\nenabled = true\nbackend = polling\nfilter =\nfailregex = ^knock from <HOST>$\ndatepattern = {NONE}\n"+
			"logpath = %s/log\nbantime = 600\naction = ebpf-tcp[name=doors, list=\"%s\"]\n", folder, list),
		"fail2ban.conf": "[Definition]\nloglevel = WARNING\nlogtarget = STDERR\ndbfile = None\n",
	})
	where := []string{"-c", folder, "-s", filepath.Join(folder, "socket"), "-p", filepath.Join(folder, "pid")}
	client = append([]string{"fail2ban-client"}, where...)
	g.daemon(t, append(client, "status", "doors"), append(append([]string{"fail2ban-server"}, where...), "-f", "start"))
	return client
}

const crowdSecAt, crowdSecKey = "127.0.0.1:8081", "not-a-secret"

// startCrowdSec runs the local API alone, and returns how to tell it something.
func (g *guarded) startCrowdSec(t *testing.T) (tool []string) {
	t.Helper()
	folder := t.TempDir()
	write(t, folder, map[string]string{
		"config.yaml": fmt.Sprintf(`
common: {daemonize: false, log_media: stdout, log_level: warning, working_dir: %[1]s}
config_paths: {config_dir: %[1]s, data_dir: %[1]s, simulation_path: %[1]s/simulation.yaml, hub_dir: %[1]s, index_path: %[1]s/index.json, notification_dir: %[1]s, plugin_dir: %[1]s}
db_config: {type: sqlite, db_path: %[1]s/decisions.db, use_wal: true}
api: {client: {credentials_path: %[1]s/credentials.yaml}, server: {log_level: warning, listen_uri: %[2]s, profiles_path: %[1]s/profiles.yaml}}
prometheus: {enabled: false}
`, folder, crowdSecAt),
		"profiles.yaml":   "name: bans\nfilters: [Alert.Remediation == true]\ndecisions: [{type: ban, duration: 4h}]\non_success: break\n",
		"simulation.yaml": "simulation: off\n", "credentials.yaml": "", "index.json": "{}",
	})
	config := filepath.Join(folder, "config.yaml")
	tool = []string{"cscli", "-c", config}
	g.server.run(t, tool[0], append(tool[1:], "machines", "add", "test", "-a", "--force", "-u", "http://"+crowdSecAt, "-f", filepath.Join(folder, "credentials.yaml"))...)
	g.server.run(t, tool[0], append(tool[1:], "bouncers", "add", "guard", "-k", crowdSecKey)...)
	g.daemon(t, append(tool, "decisions", "list"), []string{"crowdsec", "-c", config, "-no-cs"})
	return tool
}

// serves tells whether a client gets an answer of nginx.
func (g *guarded) serves(t *testing.T, from netip.Addr) bool {
	t.Helper()
	_, err := g.client.Run(t.Context(), "curl", "-s", "-o", "/dev/null", "--max-time", "1", "--interface", from.String(), fmt.Sprintf("http://%s/", g.Server4))
	return err == nil
}

// TestGuardFollowsOtherPrograms: what a jail of fail2ban and CrowdSec's tool ban is blocked, until they
// lift it. Who is allowed is not.
func TestGuardFollowsOtherPrograms(t *testing.T) {
	g := newGuarded(t)
	friend, list := nth(g.Client4, 51), filepath.Join(t.TempDir(), "doors")
	g.client.ip(t, fmt.Sprintf("addr add %s/24 dev eth0", friend))
	jail, crowdSec := g.startFail2ban(t, list), g.startCrowdSec(t)
	g.startNginx(t, 64)
	g.start(t, guarding{guard: noShares + fmt.Sprintf("    mode: enforce\n    allow: [%s]\n    block_files: [%s]\n    crowdsec: {endpoint: http://%s, api_key: %s, interval: 1s}\n",
		friend, list, crowdSecAt, crowdSecKey)})
	tell := func(program []string, more ...string) {
		t.Helper()
		g.server.run(t, program[0], append(program[1:], more...)...)
	}
	becomes := func(served bool) {
		t.Helper()
		for _, from := range []netip.Addr{g.Client4, g.neighbour} {
			require.Eventually(t, func() bool { return g.serves(t, from) == served }, settle, tick, "%s", from)
		}
		assert.True(t, g.serves(t, friend))
	}
	becomes(true)
	tell(jail, "set", "doors", "banip", g.Client4.String(), friend.String())
	for _, a := range []netip.Addr{g.neighbour, friend} {
		tell(crowdSec, "decisions", "add", "--ip", a.String(), "--duration", "1h")
	}
	becomes(false)
	tell(jail, "set", "doors", "unbanip", g.Client4.String())
	tell(crowdSec, "decisions", "delete", "--ip", g.neighbour.String())
	becomes(true)
}
