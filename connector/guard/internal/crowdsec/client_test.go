// SPDX-License-Identifier: Apache-2.0

package crowdsec

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	start  = time.Hour
	goodID = "0123456789abcdef"
)

// api is a local API as it is documented: strict about what is asked, and with the faults that a test wants.
type api struct {
	*httptest.Server
	mu    sync.Mutex
	now   time.Duration
	last  time.Duration
	bans  []served
	fault func(http.ResponseWriter) bool
	asked []string
	wrong []string
}

// served is a decision of the API.
type served struct {
	decision
	made, until time.Duration
}

func newAPI(t *testing.T) *api {
	a := &api{now: start}
	a.Server = httptest.NewServer(a)
	t.Cleanup(func() {
		a.Close()
		assert.Empty(t, a.wrong)
	})
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Method != http.MethodGet || r.URL.Path != "/v1/decisions/stream" || r.URL.Query().Get("dedup") != "false" || r.Header.Get("User-Agent") == "" {
		a.wrong = append(a.wrong, r.Method+" "+r.URL.String())
	}
	if r.Header.Get("X-Api-Key") != goodID {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"message":"access forbidden"}`))
		return
	}
	startup := r.URL.Query().Get("startup")
	a.asked = append(a.asked, startup)
	answer := map[string][]decision{"new": nil, "deleted": nil}
	for _, b := range a.bans {
		d := b.decision
		d.Duration = (b.until - a.now).String()
		switch {
		case b.until > a.now && (startup == "true" || b.made > a.last):
			answer["new"] = append(answer["new"], d)
		case b.until <= a.now && (startup == "true" || b.until > a.last):
			answer["deleted"] = append(answer["deleted"], d)
		}
	}
	// As the real one, it takes every answer as delivered.
	a.last = a.now
	if a.fault != nil && a.fault(w) {
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (a *api) ban(id int64, scope, value string, d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now++
	a.bans = append(a.bans, served{decision{ID: id, Type: "ban", Scope: scope, Value: value, Scenario: "test/" + value}, a.now, a.now + d})
}

func (a *api) unban(id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now++
	for i := range a.bans {
		if a.bans[i].ID == id {
			a.bans[i].until = a.now
		}
	}
}

func (a *api) clock() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

func (a *api) pass(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now += d
}

func (a *api) questions() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.asked
	a.asked = nil
	return asked
}

func (a *api) client(t *testing.T, change func(*Settings)) *Client {
	set := Defaults()
	set.HTTP, set.URL, set.Key = a.Client(), a.URL, goodID
	set.Now, set.Random = a.clock, func() float64 { return 0.5 }
	if change != nil {
		change(&set)
	}
	c, err := New(set)
	require.NoError(t, err)
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// kernel is what a table makes of the updates.
type kernel map[string]time.Duration

func (k kernel) apply(u Update) {
	if u.Full {
		clear(k)
	}
	for _, e := range u.Entries {
		k[e.Prefix.String()] = e.Until
	}
	for _, p := range u.Lifted {
		delete(k, p.String())
	}
}

func (k kernel) keys() []string {
	keys := make([]string, 0, len(k))
	for key := range k {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func pull(t *testing.T, c *Client, k kernel) {
	t.Helper()
	u, err := c.Pull(context.Background())
	require.NoError(t, err)
	k.apply(u)
}

func TestDecisionsComeAndGo(t *testing.T) {
	a, k := newAPI(t), kernel{}
	c := a.client(t, nil)
	a.ban(1, "Ip", "198.51.100.7", time.Hour)
	a.ban(2, "Range", "203.0.113.0/24", 2*time.Hour)
	a.ban(3, "Ip", "2001:db8::7", time.Hour)
	pull(t, c, k)
	assert.Equal(t, []string{"198.51.100.7/32", "2001:db8::7/128", "203.0.113.0/24"}, k.keys())
	a.ban(4, "ip", "198.51.100.8", time.Hour)
	a.unban(1)
	pull(t, c, k)
	assert.Equal(t, []string{"198.51.100.8/32", "2001:db8::7/128", "203.0.113.0/24"}, k.keys())
	pull(t, c, k)
	a.pass(3 * time.Hour)
	pull(t, c, k)
	assert.Empty(t, k)
	assert.Equal(t, []string{"true", "false", "false", "true"}, a.questions())
}

// TestOneAddressWithSeveralDecisions is banned until the last of them is gone.
func TestOneAddressWithSeveralDecisions(t *testing.T) {
	a, k := newAPI(t), kernel{}
	c := a.client(t, nil)
	a.ban(1, "Ip", "198.51.100.7", 2*time.Hour)
	pull(t, c, k)
	a.ban(2, "Ip", "::ffff:198.51.100.7", time.Hour)
	pull(t, c, k)
	assert.InDelta(t, float64(start+2*time.Hour), float64(k["198.51.100.7/32"]), 100)
	a.unban(1)
	pull(t, c, k)
	assert.InDelta(t, float64(start+time.Hour), float64(k["198.51.100.7/32"]), 100)
	a.unban(2)
	pull(t, c, k)
	assert.Empty(t, k)
}

// TestNothingDriftsApart: an answer that was lost is never repeated, so everything is asked for again.
func TestNothingDriftsApart(t *testing.T) {
	faults := map[string]func(http.ResponseWriter) bool{
		"500": func(w http.ResponseWriter) bool { w.WriteHeader(500); return true },
		"302": func(w http.ResponseWriter) bool {
			w.Header().Set("Location", "http://192.0.2.1/")
			w.WriteHeader(302)
			return true
		},
		"no content": func(w http.ResponseWriter) bool { w.WriteHeader(204); return true },
		"cut off": func(w http.ResponseWriter) bool {
			_, _ = w.Write([]byte(`{"new":[{"id":7,"type":"ban","scope":"Ip","value":"198.51.100.99","duration":"1h"}`))
			return true
		},
		"broken connection": func(w http.ResponseWriter) bool {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"new":[`))
			return true
		},
		"an array": func(w http.ResponseWriter) bool { _, _ = w.Write([]byte(`[]`)); return true },
		"a string": func(w http.ResponseWriter) bool { _, _ = w.Write([]byte(`{"new":"x"}`)); return true },
		"html":     func(w http.ResponseWriter) bool { _, _ = w.Write([]byte(`<html>`)); return true },
		"a long text": func(w http.ResponseWriter) bool {
			_, _ = w.Write([]byte(`{"new":[{"id":7,"value":"` + strings.Repeat("x", 4*maxDecision) + `"}]}`))
			return true
		},
		"deep": func(w http.ResponseWriter) bool {
			_, _ = w.Write([]byte(`{"other":` + strings.Repeat("[", 2*maxDecision)))
			return true
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			a, k := newAPI(t), kernel{}
			c := a.client(t, nil)
			a.ban(1, "Ip", "198.51.100.7", time.Hour)
			a.ban(2, "Ip", "198.51.100.8", time.Hour)
			pull(t, c, k)
			a.unban(1)
			a.ban(3, "Ip", "198.51.100.9", time.Hour)
			a.fault = fault
			_, err := c.Pull(context.Background())
			require.Error(t, err)
			a.fault = nil
			pull(t, c, k)
			assert.Equal(t, []string{"198.51.100.8/32", "198.51.100.9/32"}, k.keys())
			assert.Equal(t, []string{"true", "false", "true"}, a.questions())
		})
	}
}

func TestWhenEverythingIsAskedFor(t *testing.T) {
	a, k := newAPI(t), kernel{}
	c := a.client(t, nil)
	pull(t, c, k)
	c.Resync()
	pull(t, c, k)
	a.pass(10 * time.Second)
	pull(t, c, k)
	a.pass(20 * time.Minute) // a long sleep
	pull(t, c, k)
	for range 8 {
		a.pass(6 * time.Minute)
		pull(t, c, k)
	}
	a.pass(6 * time.Minute)
	pull(t, c, k)
	a.pass(6 * time.Minute)
	pull(t, c, k)
	assert.Equal(t, []string{"true", "true", "false", "true", "false", "false", "false", "false", "false", "false", "false", "false", "false", "true"}, a.questions())
}

func TestALyingAPI(t *testing.T) {
	a, k := newAPI(t), kernel{}
	c := a.client(t, func(s *Settings) {
		s.Refuse = func(p netip.Prefix) string {
			if p.Bits() == 0 {
				return "too wide"
			}
			return ""
		}
	})
	a.fault = func(w http.ResponseWriter) bool {
		_, _ = w.Write([]byte(`{"other":{"new":[1]},"deleted":null,"new":[
			{"id":1,"type":"ban","scope":"Ip","value":"198.51.100.7","duration":"1h","scenario":"a\u001b[2J","more":[1]},
			{"id":2,"type":"captcha","scope":"Ip","value":"198.51.100.8","duration":"1h"},
			{"id":3,"type":"ban","scope":"Country","value":"XX","duration":"1h"},
			{"id":4,"type":"ban","scope":"Ip","value":"localhost","duration":"1h"},
			{"id":5,"type":"ban","scope":"Ip","value":"198.51.100.9","duration":"soon"},
			{"id":6,"type":"ban","scope":"Range","value":"0.0.0.0/0","duration":"1h"},
			{"id":"7","type":"ban","scope":"Ip","value":"198.51.100.10","duration":"1h"},
			{"id":8,"type":"ban","scope":"Ip","value":"198.51.100.11","duration":"-1h"},
			{"id":9,"type":"ban","scope":"Ip","value":"198.51.100.12","duration":"2540400h"},
			null, 5]}`))
		return true
	}
	pull(t, c, k)
	assert.Equal(t, []string{"198.51.100.12/32", "198.51.100.7/32"}, k.keys())
	assert.Equal(t, start+maxDuration, k["198.51.100.12/32"])
	assert.Equal(t, [Reasons]uint64{OtherType: 2, OtherScope: 1, Malformed: 4, Unwanted: 1}, c.Ignored())
	c.Resync()
	pull(t, c, k)
	assert.Equal(t, [Reasons]uint64{OtherType: 2, OtherScope: 1, Malformed: 4, Unwanted: 1}, c.Ignored(), "the same once more")
	assert.Equal(t, "unwanted", Unwanted.String())
}

func TestAWrongKey(t *testing.T) {
	a := newAPI(t)
	c := a.client(t, func(s *Settings) { s.Key = "other" })
	_, err := c.Pull(context.Background())
	require.ErrorIs(t, err, errKey)
	assert.NotContains(t, err.Error(), "other")
}

func TestFarTooManyDecisions(t *testing.T) {
	a, k := newAPI(t), kernel{}
	c := a.client(t, func(s *Settings) { s.Limit = 1000 })
	const many = 100_000
	a.fault = func(w http.ResponseWriter) bool {
		_, _ = w.Write([]byte(`{"deleted":null,"new":[{"id":0,"type":"ban","scope":"Ip","value":"192.0.2.1","duration":"1h"}`))
		var line []byte
		for i := range many {
			line = fmt.Appendf(line[:0], `,{"id":%d,"type":"ban","scope":"Ip","value":"10.%d.%d.%d","duration":"1h"}`, i+1, i>>16, i>>8&255, i&255)
			if _, err := w.Write(line); err != nil {
				return true
			}
		}
		_, _ = w.Write([]byte(`]}`))
		return true
	}
	pull(t, c, k)
	assert.Len(t, k, 1000)
	assert.Equal(t, uint64(many+1-1000), c.Ignored()[OverLimit])
	// There is room again for what is new.
	a.fault = nil
	a.ban(5_000_000, "Ip", "198.51.100.7", time.Hour)
	c.Resync()
	pull(t, c, k)
	assert.Equal(t, []string{"198.51.100.7/32"}, k.keys())
}

func TestManyDecisionsOfOneAddress(t *testing.T) {
	s := newState(1000, nil)
	for i := range 1000 {
		s.add(&decision{ID: int64(i), Type: "ban", Scope: "Ip", Value: "198.51.100.7", Duration: "1h"}, start)
	}
	assert.Equal(t, maxBans, s.count)
	assert.Equal(t, uint64(1000-maxBans), s.ignored[OverLimit])
	for i := range 10_000 {
		s.text(fmt.Sprint(i))
	}
	assert.LessOrEqual(t, len(s.texts), maxTexts)
}

func TestASlowAPI(t *testing.T) {
	blocked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-blocked:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(blocked)
	set := Defaults()
	set.HTTP, set.URL, set.Timeout = server.Client(), server.URL, 20*time.Millisecond
	set.Now, set.Random = func() time.Duration { return start }, func() float64 { return 0 }
	c, err := New(set)
	require.NoError(t, err)
	_, err = c.Pull(context.Background())
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestRun: it asks again after failures, later each time, and ends with its context.
func TestRun(t *testing.T) {
	a := newAPI(t)
	failing := 3
	a.fault = func(w http.ResponseWriter) bool {
		if failing--; failing >= 0 {
			w.WriteHeader(503)
			return true
		}
		return false
	}
	a.ban(1, "Ip", "198.51.100.7", time.Hour)
	c := a.client(t, func(s *Settings) { s.Interval, s.Longest = time.Millisecond, 5*time.Millisecond })
	ctx, cancel := context.WithCancel(context.Background())
	var outcomes []error
	k := kernel{}
	c.Run(ctx, func(u Update) {
		k.apply(u)
		cancel()
	}, func(err error) { outcomes = append(outcomes, err) })
	assert.Equal(t, []string{"198.51.100.7/32"}, k.keys())
	require.Len(t, outcomes, 4)
	assert.ErrorContains(t, outcomes[0], "status 503")
	assert.NoError(t, outcomes[3])
}

func TestWaits(t *testing.T) {
	c := newAPI(t).client(t, nil)
	for failures, seconds := range map[int]int{0: 10, 1: 20, 2: 40, 4: 160, 5: 300, 1000: 300} {
		assert.Equal(t, time.Duration(seconds)*time.Second, c.wait(failures), failures)
	}
	c.set.Random = func() float64 { return 0 }
	assert.Equal(t, 9*time.Second, c.wait(0))
}

func TestURLs(t *testing.T) {
	set := Defaults()
	set.HTTP = http.DefaultClient
	for text, good := range map[string]bool{"http://127.0.0.1:8080": true, "https://lapi/prefix/": true, "": false, "127.0.0.1:8080": false, "ftp://x": false, "http://": false, "http://[": false} {
		set.URL = text
		c, err := New(set)
		assert.Equal(t, good, err == nil, text)
		if good {
			assert.True(t, strings.HasSuffix(c.stream, "/v1/decisions/stream"))
		}
	}
}

// FuzzAnswer: no answer makes the reader fail otherwise than with an error, or keep more than its limit.
func FuzzAnswer(f *testing.F) {
	f.Add(`{"new":[{"id":1,"type":"ban","scope":"Ip","value":"198.51.100.7","duration":"1h"}],"deleted":[{"id":1,"type":"ban","scope":"Ip","value":"198.51.100.7","duration":"-1s"}]}`)
	f.Add(`{"new":null,"x":{"new":[]},"deleted":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s := newState(5, nil)
		_ = newAnswer(strings.NewReader(text)).read(func(d *decision) { s.add(d, start) }, s.remove, func() {})
		s.expire(start + time.Minute)
		u := s.changes()
		if s.count > 5 || len(u.Entries) > 5 {
			t.Fatal(s.count)
		}
		total := 0
		for _, held := range s.bans {
			total += len(held)
		}
		if total != s.count {
			t.Fatal("miscounted")
		}
	})
}

func BenchmarkAMillionDecisions(b *testing.B) {
	var answer strings.Builder
	answer.WriteString(`{"deleted":null,"new":[{"id":0,"type":"ban","scope":"Ip","value":"192.0.2.1","duration":"1h"}`)
	for i := range 1_000_000 {
		fmt.Fprintf(&answer, `,{"id":%d,"type":"ban","scope":"Ip","value":"10.%d.%d.%d","duration":"1h"}`, i+1, i>>16, i>>8&255, i&255)
	}
	answer.WriteString(`]}`)
	b.ReportAllocs()
	for b.Loop() {
		s := newState(Defaults().Limit, nil)
		if err := newAnswer(strings.NewReader(answer.String())).read(func(d *decision) { s.add(d, start) }, s.remove, func() {}); err != nil || s.count != s.limit {
			b.Fatal(err)
		}
	}
}
