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
	// flushTime is how long the receiver tries to deliver what is left at its end.
	flushTime = 5 * time.Second
	// detachTime is what detaching may take on top, with grace periods and a busy machine.
	detachTime = 5 * time.Second
)

// lastLedgers are the ledgers of the receiver's lives so far, which it logs at the end of each.
func (c *collector) lastLedgers() []lab.Ledger {
	c.t.Helper()
	var lives []lab.Ledger
	for line := range strings.Lines(c.said()) {
		_, fields, found := strings.Cut(line, "event accounting")
		if !found {
			continue
		}
		var all map[string]json.RawMessage
		require.NoError(c.t, json.Unmarshal([]byte(fields), &all))
		life := lab.Ledger{}
		for event := range eventNames {
			a := lab.Entry{Accounted: true}
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
// ended in time, with nothing queued and a balanced ledger, and started again. It returns how
// long the end took.
func (c *collector) reload() time.Duration {
	c.t.Helper()
	starts := func() int {
		n, err := c.Starts()
		require.NoError(c.t, err)
		return n
	}
	ends, before := len(c.lastLedgers()), starts()
	begin := time.Now()
	c.Signal(syscall.SIGHUP)
	c.await(func() bool { return len(c.lastLedgers()) > ends }, "the receiver does not end")
	took := time.Since(begin)
	assert.Less(c.t, took, flushTime+detachTime, "time to end")
	c.checkLastLedger()
	c.await(func() bool { return starts() > before }, "the collector does not start again")
	return took
}

func (c *collector) await(condition func() bool, message string) {
	c.t.Helper()
	err := c.Wait(c.t.Context(), "there", func() (bool, error) { return condition(), nil })
	require.NoError(c.t, err, message)
}

func (c *collector) checkLastLedger() {
	c.t.Helper()
	lives := c.lastLedgers()
	for event, a := range lives[len(lives)-1] {
		assert.Zero(c.t, a.Difference(), "%s in life %d: %+v", event, len(lives), a)
		assert.Zero(c.t, a.Queued, "%s in life %d: queued after the end", event, len(lives))
	}
}

// TestReload reloads the configuration under load, while the consumer accepts and while it
// refuses. What can't be delivered in time is counted as lost, and the next life works.
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
		ledger, err := agent.Ledger(t.Context())
		require.NoError(t, err)
		return ledger["connection"].Queued > 200
	}, "nothing is queued while the consumer refuses")
	took := agent.reload()
	assert.GreaterOrEqual(t, took, flushTime, "the consumer has all the time to come back")
	assert.Contains(t, agent.said(), "connection at queue: shutdown")
	out.refuse(false)
	more("nothing arrives after a reload with losses")

	churn.End()
	agent.stop()
	agent.checkLastLedger()
	lives := agent.lastLedgers()
	require.Len(t, lives, 3)
	assert.Zero(t, lives[0]["connection"].Lost)
	assert.Positive(t, lives[1]["connection"].Lost)
	assert.Zero(t, lives[2]["connection"].Lost)
	checkTaken(t, out, lives)
}

// checkTaken compares the delivered events of all lives with those that the sink has.
func checkTaken(t *testing.T, out *countingSink, lives []lab.Ledger) {
	t.Helper()
	for event, taken := range out.taken() {
		delivered := 0.0
		for _, life := range lives {
			delivered += life[event].Delivered
		}
		assert.InDelta(t, taken, delivered, 0, fmt.Sprintf("%s records taken and delivered", event))
	}
}
