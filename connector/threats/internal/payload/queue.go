// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// maxHeaders and maxText bound what is copied of a head.
const (
	maxHeaders = 64
	maxText    = 8192
)

// job is a request that waits, the bytes that it holds, and the finding that it may become.
type job struct {
	request Request
	bytes   int64
	about   finding.Subject
	f       *finding.Finding
}

// perJob is what a job takes beside the texts of its request.
const perJob = 1024

// Queue is a detector whose engine runs elsewhere.
type Queue struct {
	set    *settings.PayloadSignature
	engine Engine
	// found is called without any lock.
	found  func(finding.Subject, *finding.Finding)
	logger *zap.Logger

	waiting chan *job
	// held are the bytes of those that wait.
	held atomic.Int64
	// quit is closed when nothing may be judged any more, ended when the goroutine has ended.
	quit, ended chan struct{}
	end, giveUp sync.Once
	// asking is set while the engine judges. Who clears it counts the request.
	asking atomic.Bool
	// closed is the engine's error at its end.
	closed error
	// second and taken bound the rate. They have the lock of the rules.
	second int64
	taken  int
	// warned is of the goroutine.
	warned bool
	// Outcomes counts requests.
	Outcomes [Outcomes]atomic.Uint64
}

// New makes a queue that is not started. It closes the engine at its end.
func New(set *settings.PayloadSignature, e Engine, found func(finding.Subject, *finding.Finding), logger *zap.Logger) *Queue {
	return &Queue{
		set: set, engine: e, found: found, logger: logger,
		waiting: make(chan *job, set.QueueSize), quit: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Start starts the one goroutine that asks the engine.
func (q *Queue) Start() { go q.run() }

// Stop judges what waits until the context ends, and counts the rest. It does not wait longer for the
// engine: one that is still busy is closed when it has answered, and nobody gets the answer. Nothing
// may be offered from now on. The error is that of closing the engine.
func (q *Queue) Stop(ctx context.Context) error {
	q.end.Do(func() { close(q.waiting) })
	select {
	case <-q.ended:
		return q.closed
	case <-ctx.Done():
	}
	q.giveUp.Do(func() { close(q.quit) })
	for one := range q.waiting {
		q.held.Add(-one.bytes)
		q.Outcomes[Shutdown].Add(1)
	}
	if q.asking.CompareAndSwap(true, false) {
		q.Outcomes[Shutdown].Add(1)
		q.logger.Warn("the engine of payload_signature is still busy; its last answer is dropped")
		return nil
	}
	<-q.ended
	return q.closed
}

func (q *Queue) run() {
	defer close(q.ended)
	for one := range q.waiting {
		q.held.Add(-one.bytes)
		q.asking.Store(true)
		select {
		case <-q.quit:
			if q.asking.CompareAndSwap(true, false) {
				q.Outcomes[Shutdown].Add(1)
			}
		default:
			q.judge(one)
		}
	}
	if err := q.engine.Close(); err != nil {
		q.closed = fmt.Errorf("close the engine of payload_signature: %w", err)
	}
}

// judge asks the engine. Its input is written by attackers, so a panic is an error.
func (q *Queue) judge(one *job) {
	verdict, err := q.ask(&one.request)
	if !q.asking.CompareAndSwap(true, false) {
		return // Stop has not waited for it
	}
	if err != nil {
		q.Outcomes[Failed].Add(1)
		if !q.warned {
			q.warned = true
			q.logger.Warn("the engine of payload_signature failed; later failures are only counted", zap.Error(err))
		}
		return
	}
	q.Outcomes[Judged].Add(1)
	if verdict.Score < q.set.MinScore {
		return
	}
	one.f.Signatures = verdict.Rules[:min(len(verdict.Rules), maxNamed)]
	one.f.Facts = []finding.Fact{{Key: catalogue.FactSignatureScore, Value: float64(verdict.Score)}}
	q.found(one.about, one.f)
}

// maxNamed is how many rules of a request are named.
const maxNamed = 16

func (q *Queue) ask(r *Request) (v Verdict, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	return q.engine.Judge(r)
}

// Events are those that it wants.
func (*Queue) Events() []reading.Event { return []reading.Event{reading.HTTPRequest} }

// Judge puts a request into the queue, if it is one of the sample.
func (q *Queue) Judge(m *engine.Moment) {
	if !q.sampled() {
		q.Outcomes[NotSampled].Add(1)
		return
	}
	if len(q.waiting) == cap(q.waiting) {
		q.Outcomes[QueueFull].Add(1)
		return
	}
	request := q.requestOf(m)
	bytes := request.bytes() + perJob
	if q.held.Load()+bytes > int64(q.set.QueueBytes) {
		q.Outcomes[BudgetFull].Add(1)
		return
	}
	q.held.Add(bytes)
	// Only records put into the queue, one after the other, so that there is room.
	q.waiting <- &job{request: request, bytes: bytes, about: m.About(catalogue.PayloadSignature), f: m.Request(catalogue.PayloadSignature, 0, m.Now)}
}

func (q *Queue) sampled() bool {
	if q.set.Sample < 1 && rand.Float64() >= q.set.Sample {
		return false
	}
	if second := time.Now().Unix(); second != q.second {
		q.second, q.taken = second, 0
	}
	q.taken++
	return q.taken <= q.set.MaxRate
}

// requestOf copies the content of a request.
func (q *Queue) requestOf(m *engine.Moment) Request {
	r := Request{Client: m.Client, Server: m.Server, Port: m.Port, Method: "GET"}
	m.Content(func(part reading.Part, name, text string) {
		if part == reading.PartBody {
			room := q.set.MaxBytes - len(r.Body)
			r.Body = append(r.Body, text[:min(len(text), room)]...)
			return
		}
		text = strings.Clone(text[:min(len(text), maxText)])
		switch part {
		case reading.PartMethod:
			r.Method = text
		case reading.PartPath:
			r.Path = text
		case reading.PartQuery:
			r.Query = text
		case reading.PartHeader:
			if len(r.Headers) < maxHeaders {
				r.Headers = append(r.Headers, Header{strings.Clone(name[:min(len(name), maxText)]), text})
			}
		}
	})
	return r
}

// bytes are those of the texts.
func (r *Request) bytes() int64 {
	n := len(r.Method) + len(r.Path) + len(r.Query) + cap(r.Body)
	for _, h := range r.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return int64(n)
}
