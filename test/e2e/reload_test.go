// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

const (
	// flushTime is how long the receiver lets consumers take what is left.
	flushTime = 5 * time.Second
	// detachTime is what taking the programs off may need on top, grace periods and a
	// busy machine included.
	detachTime = 5 * time.Second
)

// lastBooks are the accounts of each of the receiver's lives so far, which it tells
// when it ends.
func (c *collector) lastBooks() []lab.Books {
	c.t.Helper()
	var lives []lab.Books
	for line := range strings.Lines(c.said()) {
		_, fields, found := strings.Cut(line, "event accounting")
		if !found {
			continue
		}
		var all map[string]json.RawMessage
		require.NoError(c.t, json.Unmarshal([]byte(fields), &all))
		life := lab.Books{}
		for event := range eventNames {
			a := lab.Account{Accounted: true}
			if text, ok := all[event]; ok {
				require.NoError(c.t, json.Unmarshal(text, &a))
			}
			life[event] = a
		}
		lives = append(lives, life)
	}
	return lives
}

// reload lets the collector read its configuration again. It checks that the receiver
// ended in time, with nothing queued and its books balanced, and began again, and
// returns how long it took to end.
func (c *collector) reload() time.Duration {
	c.t.Helper()
	starts := func() int {
		n, err := c.Starts()
		require.NoError(c.t, err)
		return n
	}
	ends, before := len(c.lastBooks()), starts()
	begin := time.Now()
	c.Signal(syscall.SIGHUP)
	c.await(func() bool { return len(c.lastBooks()) > ends }, "the receiver does not end")
	took := time.Since(begin)
	assert.Less(c.t, took, flushTime+detachTime, "time to end")
	c.checkLastBooks()
	c.await(func() bool { return starts() > before }, "the collector does not start again")
	return took
}

func (c *collector) await(condition func() bool, message string) {
	c.t.Helper()
	err := c.Wait(c.t.Context(), "there", func() (bool, error) { return condition(), nil })
	require.NoError(c.t, err, message)
}

func (c *collector) checkLastBooks() {
	c.t.Helper()
	lives := c.lastBooks()
	for event, a := range lives[len(lives)-1] {
		assert.Zero(c.t, a.Difference(), "%s in life %d: %+v", event, len(lives), a)
		assert.Zero(c.t, a.Queued, "%s in life %d: queued after the end", event, len(lives))
	}
}

// TestReload lets the configuration be read again under load, while the consumer
// takes what it gets and while it refuses: what can't be handed over in time is
// counted, and the next life works.
func TestReload(t *testing.T) {
	needing(t, "live")
	const port = 28180
	n := newNetwork(t)
	n.server.startNginx(t, nginxPorts{port, port + 1, port + 2, port + 3, port + 4, port + 5})
	out := startCountingSink(t)
	agent := startAgent(t, out.endpoint, agentSettings{
		in:       n.server,
		receiver: "    clients: {exclude: [127.0.0.1]}",
		exporter: "    sending_queue: {enabled: false}\n    retry_on_failure: {enabled: false}\n",
	})
	churn := n.client.act(t, "churn", "500", n.At(port).String())
	churn.ready(t)
	more := func(message string) {
		t.Helper()
		before := out.taken()["connection"]
		agent.await(func() bool { return out.taken()["connection"] >= before+200 }, message)
	}
	more("nothing arrives")
	agent.reload()
	more("nothing arrives after a reload")
	assert.NotContains(t, agent.said(), "at queue: shutdown", "a consumer that takes everything")

	out.refuse(true)
	agent.await(func() bool {
		books, err := agent.Books(t.Context())
		require.NoError(t, err)
		return books["connection"].Queued > 200
	}, "nothing is queued while the consumer refuses")
	took := agent.reload()
	assert.GreaterOrEqual(t, took, flushTime, "the consumer has all the time to come back")
	assert.Contains(t, agent.said(), "connection at queue: shutdown")
	out.refuse(false)
	more("nothing arrives after a reload with losses")

	churn.End()
	agent.stop()
	agent.checkLastBooks()
	lives := agent.lastBooks()
	require.Len(t, lives, 3)
	assert.Zero(t, lives[0]["connection"].Lost)
	assert.Positive(t, lives[1]["connection"].Lost)
	assert.Zero(t, lives[2]["connection"].Lost)
	checkTaken(t, out, lives)
}

// checkTaken compares what all lives call delivered with what the sink has.
func checkTaken(t *testing.T, out *countingSink, lives []lab.Books) {
	t.Helper()
	for event, taken := range out.taken() {
		delivered := 0.0
		for _, life := range lives {
			delivered += life[event].Delivered
		}
		assert.InDelta(t, taken, delivered, 0, fmt.Sprintf("%s records taken and delivered", event))
	}
}
