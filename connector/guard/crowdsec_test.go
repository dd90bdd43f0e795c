// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

// A ban of CrowdSec blocks, but not who is allowed, and ends when CrowdSec deletes it. The real
// program is in internal/crowdsec's privileged tests.
func TestFollowsCrowdSec(t *testing.T) {
	var deleted atomic.Bool
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/v1/decisions/stream", r.URL.Path)
		assert.Equal(t, "secret", r.Header.Get("X-Api-Key"))
		answer := `{"new":null,"deleted":null}`
		ban := `{"id":1,"origin":"cscli","type":"ban","scope":"Ip","value":"198.51.100.9","duration":"4h0m0s","scenario":"crowdsecurity/ssh-bf"}`
		switch {
		case r.URL.Query().Get("startup") == "true":
			answer = `{"new":[` + ban + `,{"id":2,"origin":"cscli","type":"ban","scope":"Range","value":"203.0.113.0/24","duration":"4h0m0s","scenario":"x"}],"deleted":null}`
		case deleted.Load():
			answer = `{"new":null,"deleted":[` + ban + `]}`
		}
		_, err := w.Write([]byte(answer))
		assert.NoError(t, err)
	}))
	defer api.Close()
	b := newBench(t, func(c *Config) {
		c.Allow = []string{"203.0.113.0/24"}
		c.CrowdSec.Client.Endpoint, c.CrowdSec.Key, c.CrowdSec.Interval = api.URL, "secret", time.Second
	}).start()
	b.eventually(func() bool { _, ok := b.kernel.block("198.51.100.9/32"); return ok })
	b.eventually(func() bool { return b.value("tcp.server.block.refusals", "tcp.block.refusal", "allowed") == 1 })
	_, ok := b.kernel.block("203.0.113.0/24")
	assert.False(t, ok, "allowed")
	b.eventually(func() bool { return b.value("tcp.server.block.entries", "tcp.block.origin", "crowdsec") == 1 })
	deleted.Store(true)
	b.pass(time.Minute)
	b.eventually(func() bool { _, ok := b.kernel.block("198.51.100.9/32"); return !ok }, "deleted")
}

func TestCrowdSecNeedsBoth(t *testing.T) {
	for key, of := range map[string]map[string]any{
		"crowdsec::endpoint": {"api_key": "secret"},
		"crowdsec::api_key":  {"endpoint": "http://127.0.0.1:8080"},
	} {
		cfg := createDefaultConfig()
		cfg.Interfaces = []string{"eth0"}
		require.NoError(t, confmap.NewFromStringMap(map[string]any{"crowdsec": of}).Unmarshal(cfg))
		assert.ErrorContains(t, cfg.Validate(), key)
	}
	cfg := createDefaultConfig()
	cfg.Interfaces, cfg.CrowdSec.Client.Endpoint, cfg.CrowdSec.Key = []string{"eth0"}, "127.0.0.1:8080", "secret"
	assert.ErrorContains(t, cfg.Validate(), "crowdsec::endpoint")
}
