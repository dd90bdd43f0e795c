// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// actor is this test binary in a role, in a namespace.
type actor struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// act starts a role; it ends with the test at the latest.
func (ns namespace) act(t *testing.T, role string, args ...string) *actor {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return startActor(t, role, ns.command(self, args...))
}

// startActor starts a command that ends as this test binary, whatever it is called there.
func startActor(t *testing.T, role string, cmd *exec.Cmd) *actor {
	t.Helper()
	a := &actor{cmd: cmd}
	a.cmd.Env = append(os.Environ(), roleVariable+"="+role)
	a.cmd.Stderr = os.Stderr
	var err error
	a.stdin, err = a.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := a.cmd.StdoutPipe()
	require.NoError(t, err)
	a.stdout = bufio.NewReader(stdout)
	require.NoError(t, a.cmd.Start())
	t.Cleanup(a.end)
	return a
}

// ready waits for the word.
func (a *actor) ready(t *testing.T) {
	t.Helper()
	line, err := a.stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
}

// end closes the actor's standard input, which ends every role, and waits. A second
// call does nothing.
func (a *actor) end() {
	_ = a.stdin.Close()
	_, _ = io.Copy(io.Discard, a.stdout)
	_ = a.cmd.Wait()
}

// startServer answers asks on every address of the namespace.
func (ns namespace) startServer(t *testing.T, port int) *actor {
	t.Helper()
	a := ns.act(t, "server", fmt.Sprintf("[::]:%d", port))
	a.ready(t)
	return a
}

// client is a connected client whose every step is told.
type client struct {
	*actor
	t       *testing.T
	results *json.Decoder
	tally
}

// dial connects to an address; the tally has the error when it fails.
func (ns namespace) dial(t *testing.T, to netip.AddrPort) *client {
	t.Helper()
	c := &client{actor: ns.act(t, "client", to.String()), t: t}
	c.results = json.NewDecoder(c.stdout)
	c.result()
	return c
}

func (c *client) result() {
	c.t.Helper()
	require.NoError(c.t, c.results.Decode(&c.tally))
}

// do takes a step and waits for its result.
func (c *client) do(s step) *client {
	c.t.Helper()
	c.tell(s)
	c.result()
	return c
}

// tell starts a step and does not wait; result does.
func (c *client) tell(s step) {
	c.t.Helper()
	require.NoError(c.t, json.NewEncoder(c.stdin).Encode(s))
}

// nginxPorts are where nginx listens, one for each kind of traffic.
type nginxPorts struct {
	curl4, curl6, ab4, ab6, keepAlive, noAnswer int
}

// nginxBody is what nginx answers.
const nginxBody = "inbound connections leave a record each\n"

const nginxConfig = `
daemon off;
user root;
worker_processes 2;
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	reset_timedout_connection on;
	server {
		listen %[2]d; listen [::]:%[3]d; listen %[4]d; listen [::]:%[5]d;
		keepalive_timeout 0;
		location / { return 200 %[8]q; }
	}
	server {
		listen [::]:%[6]d ipv6only=off;
		keepalive_timeout 60s;
		location / { return 200 %[8]q; }
	}
	server {
		listen %[7]d;
		location / { return 444; }
	}
}
`

// startNginx serves until the test ends.
func (ns namespace) startNginx(t *testing.T, p nginxPorts) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, nginxConfig, dir, p.curl4, p.curl6, p.ab4,
		p.ab6, p.keepAlive, p.noAnswer, nginxBody), 0o600))
	cmd := ns.command("nginx", "-p", dir, "-c", path)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		return strings.Contains(ns.run(t, "ss", "-Hltn"), fmt.Sprintf(":%d ", p.noAnswer))
	}, settle, tick, "nginx does not listen")
}
