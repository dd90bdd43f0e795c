// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged

package crowdsec

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Of CrowdSec's parts, only the local API runs, and nothing talks to its central API.
const configuration = `
common: {daemonize: false, log_media: stdout, log_level: warning, working_dir: %[1]s}
config_paths: {config_dir: %[1]s, data_dir: %[1]s, simulation_path: %[1]s/simulation.yaml, hub_dir: %[1]s, index_path: %[1]s/index.json, notification_dir: %[1]s, plugin_dir: %[1]s}
db_config: {type: sqlite, db_path: %[1]s/decisions.db, use_wal: true}
api:
  client: {credentials_path: %[1]s/credentials.yaml}
  server: {log_level: warning, listen_uri: %[2]s, profiles_path: %[1]s/profiles.yaml}
prometheus: {enabled: false}
`

const profiles = `
name: bans
filters: [Alert.Remediation == true]
decisions: [{type: ban, duration: 4h}]
on_success: break
`

// crowdsec is a local API of the Debian package, with its tool.
type crowdsec struct {
	*testing.T
	config, url string
}

func startCrowdSec(t *testing.T) *crowdsec {
	t.Helper()
	folder := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	s := &crowdsec{t, filepath.Join(folder, "config.yaml"), "http://" + address}
	for name, text := range map[string]string{
		"config.yaml": fmt.Sprintf(configuration, folder, address), "profiles.yaml": profiles,
		"simulation.yaml": "simulation: off\n", "credentials.yaml": "", "index.json": "{}",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	s.tool("machines", "add", "test", "-a", "--force", "-u", s.url, "-f", filepath.Join(folder, "credentials.yaml"))
	s.tool("bouncers", "add", "guard", "-k", goodID)
	server := exec.Command("crowdsec", "-c", s.config, "-no-cs")
	server.Stdout, server.Stderr = os.Stderr, os.Stderr
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	return s
}

// tool runs cscli.
func (s *crowdsec) tool(arguments ...string) {
	s.Helper()
	out, err := exec.Command("cscli", append([]string{"-c", s.config}, arguments...)...).CombinedOutput()
	require.NoError(s, err, "cscli %v: %s", arguments, out)
}

// TestARealCrowdSec: what its tool bans and lifts is what the client knows.
func TestARealCrowdSec(t *testing.T) {
	s := startCrowdSec(t)
	set := Defaults()
	set.HTTP, set.URL, set.Key = &http.Client{}, s.url, goodID
	began := time.Now()
	set.Now, set.Random = func() time.Duration { return start + time.Since(began) }, func() float64 { return 0.5 }
	c, err := New(set)
	require.NoError(t, err)
	t.Cleanup(c.http.CloseIdleConnections)
	k := kernel{}
	pull(t, c, k)
	assert.Empty(t, k)

	becomes := func(want ...string) {
		t.Helper()
		// The API tells of a change in the second after it.
		require.Eventually(t, func() bool {
			u, err := c.Pull(context.Background())
			if err != nil {
				return false
			}
			k.apply(u)
			return slices.Equal(want, k.keys())
		}, time.Minute, 100*time.Millisecond)
	}
	s.tool("decisions", "add", "--ip", "198.51.100.7", "--duration", "2h")
	s.tool("decisions", "add", "--range", "203.0.113.0/24")
	s.tool("decisions", "add", "--ip", "198.51.100.8", "--type", "captcha")
	becomes("198.51.100.7/32", "203.0.113.0/24")
	assert.InDelta(t, (start + 2*time.Hour).Seconds(), k["198.51.100.7/32"].Seconds(), 120)
	s.tool("decisions", "add", "--ip", "198.51.100.7", "--duration", "1h", "--reason", "again")
	s.tool("decisions", "add", "--ip", "2001:db8::7")
	becomes("198.51.100.7/32", "2001:db8::7/128", "203.0.113.0/24")
	s.tool("decisions", "delete", "--ip", "198.51.100.7")
	becomes("2001:db8::7/128", "203.0.113.0/24")
	c.Resync()
	becomes("2001:db8::7/128", "203.0.113.0/24")
	s.tool("decisions", "delete", "--all")
	becomes()

	set.Key = "another"
	wrong, err := New(set)
	require.NoError(t, err)
	_, err = wrong.Pull(context.Background())
	assert.ErrorIs(t, err, errKey)
}
