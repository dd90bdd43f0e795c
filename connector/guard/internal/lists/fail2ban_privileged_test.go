// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged

package lists

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// banning is a fail2ban of Debian's package with one jail.
type banning struct {
	*testing.T
	folder string
}

const jail = `
[doors]
enabled = true
backend = polling
filter =
failregex = ^knock from <HOST>$
datepattern = {NONE}
logpath = %[1]s/log
maxretry = 3
findtime = 600
bantime = 600
action = ebpf-tcp[name=doors, list="%[1]s/block.d/fail2ban-doors"]
`

func startFail2ban(t *testing.T) *banning {
	t.Helper()
	s := &banning{t, t.TempDir()}
	action, err := os.ReadFile("../../../../deploy/fail2ban/ebpf-tcp.conf")
	require.NoError(t, err)
	for name, text := range map[string]string{
		"log": "", "jail.conf": fmt.Sprintf(jail, s.folder), "action.d/ebpf-tcp.conf": string(action), "filter.d/none.conf": "",
		"fail2ban.conf": "[Definition]\nloglevel = WARNING\nlogtarget = STDERR\ndbfile = None\n",
	} {
		path := filepath.Join(s.folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	server := exec.Command("fail2ban-server", append(s.where(), "-f", "start")...)
	server.Stderr = os.Stderr
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
	})
	require.Eventually(t, func() bool {
		return exec.Command("fail2ban-client", append(s.where(), "status", "doors")...).Run() == nil
	}, time.Minute, 200*time.Millisecond)
	return s
}

func (s *banning) where() []string {
	return []string{"-c", s.folder, "-s", filepath.Join(s.folder, "socket"), "-p", filepath.Join(s.folder, "pid")}
}

func (s *banning) client(arguments ...string) {
	s.Helper()
	out, err := exec.Command("fail2ban-client", append(s.where(), arguments...)...).CombinedOutput()
	require.NoError(s, err, "%v: %s", arguments, out)
}

// TestARealFail2ban: what a jail bans is on the list, until it is unbanned.
func TestARealFail2ban(t *testing.T) {
	s := startFail2ban(t)
	began := time.Now()
	w := New(Settings{Patterns: []string{filepath.Join(s.folder, "block.d/*")}, Limits: DefaultLimits(), Refuse: DefaultPolicy(nil).Refuse})
	listed := []string{}
	becomes := func(want ...string) {
		t.Helper()
		require.Eventually(t, func() bool {
			for _, u := range w.Poll(start+time.Since(began), time.Now()) {
				listed = texts(u)
				for _, fault := range u.Faults {
					t.Error(fault)
				}
			}
			slices.Sort(listed)
			return slices.Equal(want, listed)
		}, time.Minute, 50*time.Millisecond)
	}
	becomes()
	require.NoError(t, os.WriteFile(filepath.Join(s.folder, "log"), []byte(strings.Repeat("knock from 198.51.100.7\n", 3)), 0o600))
	becomes("198.51.100.7/32")
	s.client("set", "doors", "banip", "198.51.100.77", "2001:db8::7")
	becomes("198.51.100.7/32", "198.51.100.77/32", "2001:db8::7/128")
	s.client("set", "doors", "unbanip", "198.51.100.7")
	becomes("198.51.100.77/32", "2001:db8::7/128")
	s.client("unban", "--all")
	becomes()
}
