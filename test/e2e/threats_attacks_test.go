// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
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

// sourcesOn are lines of the receiver's configuration.
const sourcesOn = "    sources: {enabled: true}\n"

// startWatch is startJudge with facts about sources.
func startWatch(t *testing.T, receiver, connector string) *judged {
	t.Helper()
	needing(t, "refused")
	j := startJudgeWith(t, sourcesOn+receiver, connector)
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

// still waits until nothing more can come of what has been recorded: for scans, that wait for others
// that are like them, too.
func (j *judged) still(t *testing.T, rule string) record {
	t.Helper()
	found := j.one(t, rule)
	time.Sleep(6 * time.Second)
	require.Len(t, j.threats(t, "begin"), 1)
	return found
}

// TestThreatsOfStrangeSegments: nmap's scans without SYNs have the rule of their flags, and no other.
func TestThreatsOfStrangeSegments(t *testing.T) {
	for scan, rule := range map[string]string{
		"-sF": "stealth_scan", "-sX": "stealth_scan", "-sN": "stealth_scan",
		"-sA": "out_of_state_scan", "-sW": "out_of_state_scan", "-sM": "out_of_state_scan",
	} {
		t.Run(scan, func(t *testing.T) {
			j := startWatch(t, "", "")
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

// TestThreatsOfGuessedLogins: hydra tries passwords of a web page and of a shell.
func TestThreatsOfGuessedLogins(t *testing.T) {
	for _, of := range []struct {
		rule, process, receiver, url string
		port, guesses                int
	}{
		{"http_auth", "nginx", "    inspect: {http: {ports: [80]}}\n", "http-get://%s/private", 80, 40},
		{"login_guessing", "sshd", "", "ssh://%s", 22, 60},
	} {
		t.Run(of.rule, func(t *testing.T) {
			j := startWatch(t, of.receiver, "")
			if of.port == 22 {
				j.startSSHD(t, of.port)
			} else {
				j.startLogins(t, of.port)
			}
			j.client.run(t, "hydra", "-I", "-q", "-l", "admin", "-P", passwords(t, of.guesses), "-t", "4",
				fmt.Sprintf(of.url, j.Server4))
			found := j.still(t, of.rule)
			assert.Equal(t, j.Client4.String(), found.values["client.address"])
			assert.Equal(t, of.process, found.values["process.executable.name"])
			assert.InDelta(t, of.port, found.number(t, "server.port"), 0)
			assert.Equal(t, false, found.values["tcp.threat.spoofable"])
		})
	}
}
