// SPDX-License-Identifier: Apache-2.0

package crowdsec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Settings of a client.
type Settings struct {
	// HTTP is how to reach the API. Its redirects are not followed: they would take the key along.
	HTTP *http.Client
	// URL is that of the API, without the path; Key is a bouncer's.
	URL, Key string
	// Interval is between two questions, Timeout that for an answer. Longest is the longest wait after
	// failures. Everything is asked for again after Resync.
	Interval, Timeout, Longest, Resync time.Duration
	// Limit is how many decisions are kept.
	Limit int
	// Refuse says why a prefix must not be blocked; empty if it may. It may be nil.
	Refuse func(netip.Prefix) string
	// Now is since boot. Random is from 0 to 1.
	Now    func() time.Duration
	Random func() float64
}

// Defaults are those of the configuration. HTTP, URL, Key, Now and Random are still to be set.
func Defaults() Settings {
	return Settings{Interval: 10 * time.Second, Timeout: time.Minute, Longest: 5 * time.Minute, Resync: time.Hour, Limit: 200_000}
}

// Client follows one API. Run and Pull belong to one goroutine.
type Client struct {
	set    Settings
	http   http.Client
	stream string
	state  *state
	// known: state is what the API has. pulled and full are when it was asked last, and for everything.
	known bool
	// answered: there was an answer since the start.
	answered     bool
	pulled, full time.Duration
	asked        atomic.Bool
	again        chan struct{}
	mu           sync.Mutex
	ignored      [Reasons]uint64
}

// New makes a client that knows no decision yet.
func New(set Settings) (*Client, error) {
	base, err := url.Parse(set.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("%q is no URL of a local API", set.URL)
	}
	c := &Client{set: set, http: *set.HTTP, stream: base.JoinPath("v1", "decisions", "stream").String(), state: newState(set.Limit, set.Refuse), again: make(chan struct{}, 1)}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Resync makes Run apply everything that is known at once, and the next question ask for everything.
// Any goroutine may call it.
func (c *Client) Resync() {
	c.asked.Store(true)
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// Ignored counts the decisions that were not used.
func (c *Client) Ignored() [Reasons]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ignored
}

// Run asks until the context ends. Apply gets each change, report the outcome of each question:
// nil, or why there was no answer.
func (c *Client) Run(ctx context.Context, apply func(Update), report func(error)) {
	failures := 0
	for {
		u, err := c.Pull(ctx)
		if ctx.Err() != nil {
			return
		}
		report(err)
		if err != nil {
			failures++
		} else {
			failures = 0
			if u.Full || len(u.Entries)+len(u.Lifted) > 0 {
				apply(u)
			}
		}
		if !c.pause(ctx, c.wait(failures), apply) {
			return
		}
	}
}

// pause applies what is known when it is asked to; false if the context has ended.
func (c *Client) pause(ctx context.Context, wait time.Duration, apply func(Update)) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-c.again:
			// Before the first answer, nothing is known.
			if c.answered {
				apply(c.state.all())
			}
		}
	}
}

// wait is longer after each failure, and never the same for all clients of an API.
func (c *Client) wait(failures int) time.Duration {
	wait := c.set.Interval
	for range failures {
		if wait *= 2; wait >= c.set.Longest {
			wait = max(c.set.Longest, c.set.Interval)
			break
		}
	}
	return time.Duration(float64(wait) * (0.9 + 0.2*c.set.Random()))
}

// Pull asks once. After an error, nothing has changed, and the next one asks for everything.
func (c *Client) Pull(ctx context.Context) (Update, error) {
	now := c.set.Now()
	asked := c.asked.Swap(false)
	full := asked || !c.known || now-c.pulled > 10*c.set.Interval+c.set.Longest || now-c.full >= c.set.Resync
	next := c.state
	if full {
		next = newState(c.set.Limit, c.set.Refuse)
	}
	before := c.state.ignored
	err := c.ask(ctx, full, next, now)
	c.account(&before, next)
	if err != nil {
		c.known = false
		return Update{}, fmt.Errorf("ask CrowdSec for decisions: %w", err)
	}
	c.state, c.known, c.answered, c.pulled = next, true, true, now
	if full {
		c.full = now
		return next.all(), nil
	}
	next.expire(now)
	return next.changes(), nil
}

// account counts what was ignored beyond what was before: an answer with everything has the same
// decisions again.
func (c *Client) account(before *[Reasons]uint64, after *state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, n := range after.ignored {
		if n > before[i] {
			c.ignored[i] += n - before[i]
			// If this answer fails on the way, the next one is compared with it all the same.
			c.state.ignored[i] = n
		}
	}
}

var errKey = errors.New("the API does not accept the key")

// ask reads one answer into a state.
func (c *Client) ask(ctx context.Context, full bool, into *state, now time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, c.set.Timeout)
	defer cancel()
	// With dedup, decisions that another one of the same address hides would be unknown.
	question := c.stream + "?startup=false&dedup=false"
	if full {
		question = c.stream + "?startup=true&dedup=false"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, question, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("X-Api-Key", c.set.Key)
	request.Header.Set("User-Agent", "ebpf-tcp-guard/v1")
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer func() {
		// So that the connection can be used again. What is longer is not worth it.
		_, _ = io.CopyN(io.Discard, response.Body, 4096)
		_ = response.Body.Close()
	}()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return errKey
	default:
		return fmt.Errorf("status %d", response.StatusCode)
	}
	deleted := into.remove
	if full {
		deleted = func(*decision) {}
	}
	return newAnswer(response.Body).read(func(d *decision) { into.add(d, now) }, deleted, func() { into.ignored[Malformed]++ })
}
