// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/payload"
)

// PayloadRequest is the content of a request, as far as its record has it.
type PayloadRequest = payload.Request

// PayloadHeader is a field of a request's head.
type PayloadHeader = payload.Header

// PayloadVerdict is what an engine says about a request.
type PayloadVerdict = payload.Verdict

// PayloadEngine judges the content of requests. The connector calls it from one goroutine.
type PayloadEngine = payload.Engine

// PayloadSettings are those of the rule payload_signature that an engine needs.
type PayloadSettings struct {
	// Folder has a rule set; empty is for one that is embedded.
	Folder string
	// Paranoia is the level of the rule set, from 1 to 4.
	Paranoia int
	// MaxBytes is how much of a body it gets.
	MaxBytes int
}

// Option changes what a factory makes.
type Option func(*factory)

// WithPayloadEngine makes the rule payload_signature possible. The function is called at the start of
// a connector that has the rule on.
func WithPayloadEngine(open func(PayloadSettings) (PayloadEngine, error)) Option {
	return func(f *factory) { f.payload = open }
}

var errNoPayloadEngine = errors.New("rules::payload_signature::enabled: this collector was built without an engine for it; docs/payloads.md says how to build one")

// beginPayloads makes what judges payloads, if that is on.
func (j *judge) beginPayloads() error {
	set := &j.cfg.Rules.PayloadSignature
	if !set.Enabled {
		return nil
	}
	if j.payload == nil {
		return errNoPayloadEngine
	}
	e, err := j.payload(PayloadSettings{Folder: set.Folder, Paranoia: set.Paranoia, MaxBytes: set.MaxBytes})
	if err != nil {
		return fmt.Errorf("rules::payload_signature: %w", err)
	}
	queue := payload.New(set, e, j.late, j.set.Logger)
	queue.Start()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.payloads = queue
	j.engine.Add(queue)
	return nil
}

// late takes a finding that was made after its record.
func (j *judge) late(about finding.Subject, f *finding.Finding) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.engine.Late(about, f)
}

// endPayloadsFor is how much of a stop may go into judging the requests that wait.
const endPayloadsFor = stopFor / 2

func (j *judge) endPayloads(ctx context.Context) error {
	if j.payloads == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, endPayloadsFor)
	defer cancel()
	return j.payloads.Stop(ctx)
}

func (j *judge) observePayloads(_ context.Context, o metric.Int64Observer) error {
	if j.payloads == nil {
		return nil
	}
	for outcome := range payload.Outcomes {
		o.Observe(int64(j.payloads.Outcomes[outcome].Load()), j.with(attribute.String("outcome", outcome.String())))
	}
	return nil
}
