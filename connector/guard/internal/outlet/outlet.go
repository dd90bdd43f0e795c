// SPDX-License-Identifier: Apache-2.0

// Package outlet tells decisions: as records for the next consumer, as far as there is room.
package outlet

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/consumer"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocklog"
	"github.com/ebpftcp/ebpftcpreceiver/internal/delivery"
)

// Why records are not made, beside those of delivery.
const (
	rateLimit = "rate_limit"
	ofAList   = "list"
)

// Outlet belongs to one goroutine at a time, but for Told.
type Outlet struct {
	queue *delivery.Queue[*blocklog.Event]
	// most are the refusals that are told in a minute; told are those since minute.
	most, told int
	minute     time.Duration
	// overRate and quiet count what was not told.
	overRate, quiet uint64
}

// New makes an outlet that tells at most so many refusals in a minute. Without a consumer it tells
// nobody.
func New(next consumer.Logs, writer *blocklog.Writer, most int, logger *zap.Logger) *Outlet {
	o := &Outlet{most: most}
	if next != nil {
		o.queue = delivery.NewQueue(next, writer.Logs, logger)
		o.queue.Start()
	}
	return o
}

// Stop delivers what waits, until the context ends.
func (o *Outlet) Stop(ctx context.Context) {
	if o != nil && o.queue != nil {
		o.queue.Stop(ctx)
	}
}

// Tell tells a decision. It does not wait.
func (o *Outlet) Tell(e *blocklog.Event) {
	if o.queue != nil {
		o.queue.Add(e)
	}
}

// Quiet counts a decision that is not told, because a list made too many at a time.
func (o *Outlet) Quiet() {
	if o.queue != nil {
		o.quiet++
	}
}

// Refuse tells a refusal, as far as its minute has room. Now is since boot.
func (o *Outlet) Refuse(e *blocklog.Event, now time.Duration) {
	if now-o.minute >= time.Minute {
		o.minute, o.told = now, 0
	}
	if o.told >= o.most {
		if o.queue != nil {
			o.overRate++
		}
		return
	}
	o.told++
	o.Tell(e)
}

// Told are records that the consumer accepted.
func (o *Outlet) Told() uint64 {
	if o == nil || o.queue == nil {
		return 0
	}
	return o.queue.Told.Load()
}

// Undelivered counts decisions that no consumer got, by reason.
func (o *Outlet) Undelivered(each func(reason string, n uint64)) {
	if o == nil || o.queue == nil {
		return
	}
	for reason := range delivery.Reasons {
		each(reason.String(), o.queue.Lost[reason].Load())
	}
	each(rateLimit, o.overRate)
	each(ofAList, o.quiet)
}
