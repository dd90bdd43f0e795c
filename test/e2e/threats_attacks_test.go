// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// gather is how long a scan waits for others that are like it.
const gather = time.Second

// startWatch is startJudge with facts about sources, and without the named rules.
func startWatch(t *testing.T, receiver string, without ...string) *judged {
	t.Helper()
	needing(t, "refused")
	rules := fmt.Sprintf("    rules:\n      distributed_scan: {gather: %s}\n", gather)
	for _, rule := range without {
		rules += fmt.Sprintf("      %s: {enabled: false}\n", rule)
	}
	j := startJudgeWith(t, "    sources: {enabled: true}\n"+receiver, rules)
	t.Cleanup(func() {
		if t.Failed() {
			j.tell(t)
		}
	})
	return j
}

// tell logs the facts that the rules had.
func (j *judged) tell(t *testing.T) {
	t.Helper()
	for _, r := range j.out.records(t, func(r record) bool {
		return r.event == "tcp.server.source" || r.event == "tcp.server.listener" || r.event == "tcp.server.threat"
	}) {
		t.Logf("%s\n\t%v", r.body, r.values)
	}
}

// still waits for a finding, and for all that might come of the records before it: one more interval,
// and the time that scans wait.
func (j *judged) still(t *testing.T, rule string) record {
	t.Helper()
	found := j.one(t, rule)
	j.quiet(t)
	require.Len(t, j.threats(t, "begin"), 1)
	return found
}

func (*judged) quiet(t *testing.T) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(time.Second + 2*gather):
	}
}

// TestThreatsOfStrangeSegments: nmap's scans without SYNs have the rule of their flags, and no other.
func TestThreatsOfStrangeSegments(t *testing.T) {
	for scan, rule := range map[string]string{
		"-sF": "stealth_scan", "-sX": "stealth_scan", "-sN": "stealth_scan",
		"-sA": "out_of_state_scan", "-sW": "out_of_state_scan", "-sM": "out_of_state_scan",
	} {
		t.Run(scan, func(t *testing.T) {
			j := startWatch(t, "")
			j.server.startServer(t, 80)
			j.client.run(t, "nmap", "-n", "-Pn", scan, j.Server4.String())
			found := j.still(t, rule)
			assert.Equal(t, j.Client4.String(), found.values["client.address"])
			assert.Equal(t, j.Client4.String()+"/32", found.values["tcp.source.prefix"])
			assert.Equal(t, true, found.values["tcp.threat.spoofable"])
		})
	}
}

// startLogins is nginx with a page for all, and one for those who know the password.
func (j *judged) startLogins(t *testing.T, port int) {
	t.Helper()
	users := filepath.Join(t.TempDir(), "users")
	require.NoError(t, os.WriteFile(users, []byte("admin:{PLAIN}unguessable\n"), 0o600))
	web, err := lab.StartWebServer(t.Context(), j.server.Namespace, lab.WebConfiguration{
		Main: "user root; worker_processes 1;",
		HTTP: fmt.Sprintf(`
	server {
		listen %d;
		location / { return 200 %q; }
		location /private { auth_basic private; auth_basic_user_file %s; }
	}`, port, nginxBody, users),
		Connections: 512, Port: port,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, web.Close()) })
}

const sshdConfiguration = `
Port %d
HostKey %s
PidFile none
UsePAM no
MaxStartups 100
PasswordAuthentication yes
`

// startSSHD lets nobody in who has no key.
func (j *judged) startSSHD(t *testing.T, port int) {
	t.Helper()
	// It wants to have this folder, which belongs to a service that may never have run.
	require.NoError(t, os.MkdirAll("/run/sshd", 0o755))
	folder := t.TempDir()
	key, config := filepath.Join(folder, "key"), filepath.Join(folder, "config")
	run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, sshdConfiguration, port, key), 0o600))
	server, err := lab.Start(j.server.Command("/usr/sbin/sshd", "-D", "-e", "-f", config))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Stop(syscall.SIGTERM)) })
	require.NoError(t, server.Wait(t.Context(), "listening", func() (bool, error) {
		listeners, err := j.server.Run(t.Context(), "ss", "-Hltn")
		return strings.Contains(listeners, fmt.Sprintf(":%d ", port)), err
	}))
}

// passwords are a file with wrong ones.
func passwords(t *testing.T, n int) string {
	t.Helper()
	var words strings.Builder
	for i := range n {
		fmt.Fprintf(&words, "guess-%d\n", i)
	}
	path := filepath.Join(t.TempDir(), "passwords")
	require.NoError(t, os.WriteFile(path, []byte(words.String()), 0o600))
	return path
}

// TestThreatsOfFloods: hping3 sends SYNs for four seconds, from its own address, whose host resets what
// it never asked for, and from random ones.
func TestThreatsOfFloods(t *testing.T) {
	for _, from := range []string{"", "--rand-source"} {
		t.Run("hping3 --flood "+from, func(t *testing.T) {
			// The port that hping3 sends from passes 0, which port_zero reports.
			j := startWatch(t, "", "port_zero")
			j.server.startServer(t, 80)
			for _, half := range []string{"0.0.0.0/1", "128.0.0.0/1"} {
				require.NoError(t, j.RouteToClient(netip.MustParsePrefix(half)))
			}
			j.attack(t, "timeout", append(strings.Fields("4 hping3 -q --flood -S -p 80 "+from), j.Server4.String())...)
			found := j.still(t, "syn_flood")
			assert.NotContains(t, found.values, "client.address")
			assert.NotContains(t, found.values, "tcp.source.prefix")
			assert.Greater(t, found.number(t, "tcp.threat.syn.count"), 1000.0)
			assert.Equal(t, true, found.values["tcp.threat.spoofable"])
		})
	}
}

// TestThreatsOfGuessedLogins: hydra tries passwords of a web page and of a shell.
func TestThreatsOfGuessedLogins(t *testing.T) {
	for _, of := range []struct {
		rule, process, receiver, url string
		port                         int
	}{
		{"http_auth", "nginx", "    inspect: {http: {ports: [80]}}\n", "http-get://%s/private", 80},
		{"login_guessing", "sshd", "", "ssh://%s", 22},
	} {
		t.Run(of.rule, func(t *testing.T) {
			j := startWatch(t, of.receiver)
			if of.process == "sshd" {
				j.startSSHD(t, of.port)
			} else {
				j.startLogins(t, of.port)
			}
			j.attack(t, "hydra", "-I", "-q", "-l", "admin", "-P", passwords(t, 1000), fmt.Sprintf(of.url, j.Server4))
			found := j.still(t, of.rule)
			assert.Equal(t, j.Client4.String(), found.values["client.address"])
			assert.Equal(t, of.process, found.values["process.executable.name"])
			assert.InDelta(t, of.port, found.number(t, "server.port"), 0)
			assert.Equal(t, false, found.values["tcp.threat.spoofable"])
		})
	}
}

// attack runs a program of the client's until the test ends.
func (j *judged) attack(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := j.client.Command(name, args...)
	// Some leave files behind.
	cmd.Dir = t.TempDir()
	attacker, err := lab.Start(cmd)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, attacker.Stop(syscall.SIGTERM)) })
}

// TestThreatsLeaveOrdinaryProgramsAlone: nothing is found about load, health checks, and a monitor of
// three closed ports.
func TestThreatsLeaveOrdinaryProgramsAlone(t *testing.T) {
	j := startWatch(t, "    inspect: {http: {ports: [80]}}\n")
	j.startLogins(t, 80)
	url := fmt.Sprintf("http://%s/", j.Server4)
	j.client.run(t, "ab", "-q", "-n", "2000", "-c", "20", url)
	j.client.run(t, "wrk", "-t", "1", "-c", "20", "-d", "2s", url)
	for range 10 {
		j.client.run(t, "curl", "-sf", "-o", "/dev/null", url)
		// A load balancer that only connects.
		j.client.run(t, "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/80", j.Server4))
		for port := 8081; port <= 8083; port++ {
			_, err := j.client.Run(t.Context(), "curl", "-s", fmt.Sprintf("http://%s:%d/", j.Server4, port))
			require.Error(t, err, "port %d listens", port)
		}
	}
	j.quiet(t)
	assert.Empty(t, j.threats(t, "begin"))
	for _, event := range []string{"tcp.server.connection.close", "tcp.server.connection.failed", "tcp.server.http.request", "tcp.server.source"} {
		read, err := j.agent.Sum(t.Context(), "otelcol_ebpf_tcp_threats_records", "event", event, "outcome", "read")
		require.NoError(t, err)
		assert.Positive(t, read, event)
	}
}
