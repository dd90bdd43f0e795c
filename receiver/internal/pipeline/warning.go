// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
)

// warningInterval is the minimum time between two warnings of one kind.
const warningInterval = 30 * time.Second

// limitedWarning logs at most one warning per warningInterval.
type limitedWarning struct {
	logger *zap.Logger

	mu      sync.Mutex
	next    time.Time
	skipped int
}

func (w *limitedWarning) log(message string, fields ...zap.Field) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Before(w.next) {
		w.skipped++
		return
	}
	w.next = now.Add(warningInterval)
	if w.skipped > 0 {
		fields = append(fields, zap.Int("warnings_skipped", w.skipped))
		w.skipped = 0
	}
	w.logger.Warn(message, fields...)
}

// lossWatch warns if losses grow, with place and reason.
type lossWatch struct {
	logger *zap.Logger
	ledger *ledger.Ledger
	known  ledger.Losses
	next   time.Time
}

// check compares the ledger with the last warning, at most once per warningInterval.
func (w *lossWatch) check(now time.Time) {
	if now.Before(w.next) {
		return
	}
	var grown []string
	for e := range ledger.Events {
		for c := range ledger.Causes {
			lost := w.ledger.Lost(e, c)
			if n := lost - w.known[e][c]; n > 0 {
				grown = append(grown, describeLoss(n, e, c))
			}
			w.known[e][c] = lost
		}
	}
	if len(grown) == 0 {
		return
	}
	w.next = now.Add(warningInterval)
	w.logger.Warn("events were lost since the last such warning", zap.Strings("lost", grown))
}

// seriesWatch warns if observations go into the overflow series.
type seriesWatch struct {
	warn  *limitedWarning
	limit int
	known uint64
}

// check compares the number of refused observations with the previous one.
func (w *seriesWatch) check(refused uint64) {
	if refused > w.known {
		w.warn.log("the limit of series is reached: further observations go into the series with otel.metric.overflow; raise limits::series",
			zap.Uint64("observations", refused-w.known), zap.Int("series", w.limit))
	}
	w.known = refused
}

// describeLoss says what was lost where and why, and which setting to raise.
func describeLoss(n int64, e ledger.Event, c ledger.Cause) string {
	text := fmt.Sprintf("%d %s at %s: %s", n, e, c.Place(), c.Reason())
	if limit := e.Limit(c); limit != "" {
		text += ", raise " + limit
	}
	return text
}

// last checks without waiting for the interval.
func (w *lossWatch) last() {
	w.next = time.Time{}
	w.check(time.Now())
}

// logAccounting logs the balance of every accounted event from Start to Shutdown in one line.
func logAccounting(logger *zap.Logger, l *ledger.Ledger) {
	var fields []zap.Field
	for e := range ledger.AccountedEvents() {
		b := l.Balance(e)
		fields = append(fields, zap.Dict(e.String(),
			zap.Int64("produced", b.Produced),
			zap.Int64("delivered", b.Delivered),
			zap.Int64("active", b.Active),
			zap.Int64("queued", b.Queued),
			zap.Int64("lost", b.Lost)))
	}
	logger.Info("event accounting", fields...)
}
