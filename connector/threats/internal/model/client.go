// SPDX-License-Identifier: Apache-2.0

// Package model asks a model of the user's own for scores: by the Open Inference Protocol, version
// 2, as JSON over HTTP. Whatever the model does, vectors never wait for it: a queue is bounded, and
// what finds no room is counted.
package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

// Client sends vectors to a model. T is what comes back with a score.
type Client[T any] struct {
	config    Config
	http      *http.Client
	logger    *zap.Logger
	scored    func(context.Context, []Result[T])
	normalise *normaliser
	base      string

	queue  chan item[T]
	counts counts
	stop   context.CancelFunc
	done   chan struct{}

	// What follows belongs to the goroutine that asks.
	now      func() time.Time
	contract *contract
	breaker  breaker
	// troubled is set by the first of some failures, so that one log line tells of them.
	troubled bool
	body     []byte
}

// Result is a score.
type Result[T any] struct {
	With  T
	Score float64
}

type item[T any] struct {
	values []float64
	with   T
}

// New makes a Client. It calls scored with the scores of a request, in a goroutine of its own that may
// wait. The context is done when the client shuts down.
func New[T any](config Config, client *http.Client, logger *zap.Logger, scored func(context.Context, []Result[T])) (*Client[T], error) {
	n, err := config.normaliser()
	if err != nil {
		return nil, err
	}
	base := strings.TrimSuffix(config.Client.Endpoint, "/") + "/v2/models/" + url.PathEscape(config.Name)
	if config.Version != "" {
		base += "/versions/" + url.PathEscape(config.Version)
	}
	return &Client[T]{
		config: config, http: client, logger: logger, scored: scored, normalise: n, base: base, now: time.Now,
		queue:   make(chan item[T], config.QueueSize),
		breaker: breaker{most: config.Breaker.Failures, pause: config.Breaker.Pause},
	}, nil
}

// Start compares the model with the configuration. If they don't fit, that is an error. A server
// that can't be reached is asked again later.
func (c *Client[T]) Start(ctx context.Context) error {
	var mismatch *MismatchError
	if err := c.check(ctx); errors.As(err, &mismatch) {
		c.http.CloseIdleConnections()
		return err
	} else if err != nil {
		c.failed(err)
	}
	ctx, c.stop = context.WithCancel(context.Background())
	c.done = make(chan struct{})
	go c.run(ctx)
	return nil
}

// Shutdown stops asking. Vectors that wait are lost.
func (c *Client[T]) Shutdown() {
	if c.stop == nil {
		return
	}
	c.stop()
	<-c.done
	c.stop = nil
	c.http.CloseIdleConnections()
}

// Offer queues a vector. It never waits.
func (c *Client[T]) Offer(v *vector.Vector, with T) {
	values := make([]float64, len(c.normalise.features))
	if !c.normalise.apply(v, values) {
		c.counts.add(NotFinite, 1)
		return
	}
	select {
	case c.queue <- item[T]{values, with}:
	default:
		c.counts.add(QueueFull, 1)
	}
}

// Count is how many vectors had an outcome.
func (c *Client[T]) Count(o Outcome) uint64 { return c.counts[o].Load() }

// Queued is how many vectors wait.
func (c *Client[T]) Queued() int { return len(c.queue) }

func (c *Client[T]) run(ctx context.Context) {
	defer close(c.done)
	most := c.config.MaxBatch
	batch := make([]item[T], 0, most)
	for {
		batch = c.take(ctx, batch[:0], most)
		if ctx.Err() != nil {
			c.counts.add(Shutdown, len(batch)+c.drain())
			return
		}
		c.serve(ctx, batch)
		clear(batch)
	}
}

// take waits for a vector, and takes what else is there. It never waits for a batch to fill.
func (c *Client[T]) take(ctx context.Context, batch []item[T], most int) []item[T] {
	select {
	case <-ctx.Done():
		return batch
	case first := <-c.queue:
		batch = append(batch, first)
	}
	for len(batch) < most {
		select {
		case next := <-c.queue:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

func (c *Client[T]) drain() int {
	n := 0
	for {
		select {
		case <-c.queue:
			n++
		default:
			return n
		}
	}
}

// serve asks for the scores of a batch, in requests of one vector if the model takes no batches.
func (c *Client[T]) serve(ctx context.Context, batch []item[T]) {
	for len(batch) > 0 {
		if ctx.Err() != nil {
			c.counts.add(Shutdown, len(batch))
			return
		}
		if c.breaker.open(c.now()) {
			c.counts.add(CircuitOpen, len(batch))
			return
		}
		if c.contract == nil {
			if err := c.check(ctx); err != nil {
				c.lost(ctx, len(batch), err)
				return
			}
		}
		n := len(batch)
		if c.contract.single != nil {
			n = 1
		}
		if err := c.ask(ctx, batch[:n]); err != nil {
			c.lost(ctx, n, err)
		} else {
			c.succeeded()
		}
		batch = batch[n:]
	}
}

// lost counts the vectors of a request that failed.
func (c *Client[T]) lost(ctx context.Context, n int, err error) {
	outcome := outcomeOf(ctx, err)
	c.counts.add(outcome, n)
	if outcome != Shutdown {
		c.failed(err)
	}
}

// check reads what the server says about the model.
func (c *Client[T]) check(ctx context.Context) error {
	body, err := c.exchange(ctx, http.MethodGet, c.base, nil, mostMetadata)
	if err != nil {
		return fmt.Errorf("ask about model %q: %w", c.config.Name, err)
	}
	k, err := c.config.agree(body)
	var mismatch *MismatchError
	if errors.As(err, &mismatch) {
		return &failure{Mismatch, err}
	}
	if err != nil {
		return &failure{InvalidAnswer, err}
	}
	c.contract = k
	return nil
}

const (
	mostMetadata = 1 << 20
	// answerBytes is for what an answer has beside its values, and valueBytes for each value of
	// at most mostColumns.
	answerBytes = 64 << 10
	valueBytes  = 32
	mostColumns = 64
)

// ask sends vectors and passes their scores on.
func (c *Client[T]) ask(ctx context.Context, batch []item[T]) error {
	vectors := make([][]float64, len(batch))
	for i := range batch {
		vectors[i] = batch[i].values
	}
	c.body = c.contract.request(c.body[:0], vectors)
	limit := answerBytes + len(batch)*valueBytes*mostColumns
	body, err := c.exchange(ctx, http.MethodPost, c.base+"/infer", c.body, limit)
	if err != nil {
		return fmt.Errorf("ask model %q: %w", c.config.Name, err)
	}
	scores, err := c.contract.scores(body, len(batch), c.config.Column)
	if err != nil {
		return fmt.Errorf("ask model %q: %w", c.config.Name, err)
	}
	results := make([]Result[T], 0, len(scores))
	for i, s := range scores {
		c.counts.add(s.outcome, 1)
		if s.outcome == Scored {
			results = append(results, Result[T]{batch[i].with, s.value})
		}
	}
	c.scored(ctx, results)
	return nil
}

// exchange sends a request and reads the answer up to a limit.
func (c *Client[T]) exchange(ctx context.Context, method, to string, body []byte, limit int) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fail(HTTPStatus, "the server answered %d: %s", response.StatusCode, words(string(text)))
	}
	if len(text) > limit {
		return nil, fail(TooLarge, "the answer has more than %d bytes", limit)
	}
	return text, nil
}

// outcomeOf is why a request failed.
func outcomeOf(ctx context.Context, err error) Outcome {
	var known *failure
	var late net.Error
	switch {
	case ctx.Err() != nil:
		return Shutdown
	case errors.As(err, &known):
		return known.outcome
	case errors.As(err, &late) && late.Timeout():
		return Timeout
	}
	return Unreachable
}

// failed counts a failure. The first one, and each pause, has a log line. After a pause the server
// may have another model.
func (c *Client[T]) failed(err error) {
	pause := c.breaker.failure(c.now())
	if pause {
		c.contract = nil
	}
	if !c.troubled || pause {
		c.logger.Warn("the model gives no scores", zap.Error(err), zap.Bool("paused", pause))
	}
	c.troubled = true
}

func (c *Client[T]) succeeded() {
	c.breaker.success()
	if c.troubled {
		c.logger.Info("the model gives scores again")
	}
	c.troubled = false
}
