// SPDX-License-Identifier: Apache-2.0

package threats

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/model"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/scoring"
)

// scores tells whether a kind of score is on.
func (j *judge) scores(id catalogue.ID) bool {
	return id == catalogue.Anomaly && j.cfg.Anomaly.Enabled || id == catalogue.Model && j.cfg.Model.Enabled()
}

// nameOf is the value of security_rule.name.
func (j *judge) nameOf(id catalogue.ID) string {
	if id == catalogue.Model {
		return id.String() + "/" + j.cfg.Model.Name
	}
	return id.String()
}

// counted returns the totals of vectors, and the scorer; nil if there is none.
func (j *judge) counted() (scoring.Counts, *scoring.Scorer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.scorer == nil {
		return scoring.Counts{}, nil
	}
	return j.scorer.Counts(), j.scorer
}

func (j *judge) observeVectors(_ context.Context, o metric.Int64Observer) error {
	c, _ := j.counted()
	if !j.cfg.Anomaly.Enabled {
		return nil
	}
	for _, of := range []struct {
		outcome string
		n       uint64
	}{{"warm_up", c.Made - c.Judged}, {"learned", c.Learned}, {"not_learned", c.Judged - c.Learned}} {
		o.Observe(int64(of.n), j.with(attribute.String("outcome", of.outcome)))
	}
	return nil
}

func (j *judge) observeWindowless(_ context.Context, o metric.Int64Observer) error {
	if c, scorer := j.counted(); scorer != nil {
		o.Observe(int64(c.Lost), j.with())
	}
	return nil
}

func (j *judge) observeModelVectors(_ context.Context, o metric.Int64Observer) error {
	_, scorer := j.counted()
	if scorer == nil || !j.cfg.Model.Enabled() {
		return nil
	}
	for _, outcome := range model.Outcomes() {
		o.Observe(int64(scorer.ModelCount(outcome)), j.with(attribute.String("outcome", outcome.String())))
	}
	return nil
}

func (j *judge) observeModelQueued(_ context.Context, o metric.Int64Observer) error {
	if _, scorer := j.counted(); scorer != nil && j.cfg.Model.Enabled() {
		o.Observe(int64(scorer.ModelQueued()), j.with())
	}
	return nil
}
