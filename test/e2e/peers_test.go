// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// actor is this test binary in a role, in a namespace.
type actor struct{ *lab.Actor }

// act starts a role; it ends with the test at the latest.
func (ns namespace) act(t *testing.T, role string, args ...string) *actor {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return startActor(t, role, ns.Command(self, args...))
}

// startActor starts a command that ends as this test binary, whatever its name is there.
func startActor(t *testing.T, role string, cmd *exec.Cmd) *actor {
	t.Helper()
	started, err := lab.StartActor(role, cmd)
	require.NoError(t, err)
	a := &actor{started}
	t.Cleanup(a.End)
	return a
}

// ready waits for the word.
func (a *actor) ready(t *testing.T) {
	t.Helper()
	require.NoError(t, a.Ready(t.Context()))
}

// startServer answers asks on every address of the namespace.
func (ns namespace) startServer(t *testing.T, port int) *actor {
	t.Helper()
	a := ns.act(t, "server", fmt.Sprintf("[::]:%d", port))
	a.ready(t)
	return a
}

// client is a connected client that makes each step on request.
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
	c.results = json.NewDecoder(c.Printed)
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
	require.NoError(c.t, json.NewEncoder(c.Input).Encode(s))
}

// nginxPorts are where nginx listens, one for each kind of traffic.
type nginxPorts struct {
	curl4, curl6, ab4, ab6, keepAlive, noAnswer int
}

// nginxBody is what nginx answers.
const nginxBody = "inbound connections leave a record each\n"

const nginxServers = `
	reset_timedout_connection on;
	server {
		listen %[1]d; listen [::]:%[2]d; listen %[3]d; listen [::]:%[4]d;
		keepalive_timeout 0;
		location / { return 200 %[7]q; }
	}
	server {
		listen [::]:%[5]d ipv6only=off;
		keepalive_timeout 60s;
		location / { return 200 %[7]q; }
	}
	server {
		listen %[6]d;
		location / { return 444; }
	}
`

// startNginx serves until the test ends.
func (ns namespace) startNginx(t *testing.T, p nginxPorts) {
	t.Helper()
	web, err := lab.StartWebServer(t.Context(), ns.Namespace, lab.WebConfiguration{
		Main:        "user root; worker_processes 2;",
		HTTP:        fmt.Sprintf(nginxServers, p.curl4, p.curl6, p.ab4, p.ab6, p.keepAlive, p.noAnswer, nginxBody),
		Connections: 512, Port: p.noAnswer,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, web.Close()) })
}
