// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
)

// warningInterval is the least time between two warnings of one kind.
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

// lossWatch warns when losses grow, naming where and why.
type lossWatch struct {
	logger *zap.Logger
	books  *ledger.Ledger
	known  ledger.Losses
	next   time.Time
}

// check compares the books with the last warning, unless that was just now.
func (w *lossWatch) check(now time.Time) {
	if now.Before(w.next) {
		return
	}
	var grown []string
	for e := range ledger.Events {
		for c := range ledger.Causes {
			lost := w.books.Lost(e, c)
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

// seriesWatch warns when observations go into the overflow series.
type seriesWatch struct {
	warn  *limitedWarning
	limit int
	known uint64
}

// check compares the number of refused observations with the last one.
func (w *seriesWatch) check(refused uint64) {
	if refused > w.known {
		w.warn.log("metrics have no room for further series: what exceeds it is in the series with otel.metric.overflow, raise limits::series",
			zap.Uint64("observations", refused-w.known), zap.Int("series", w.limit))
	}
	w.known = refused
}

// describeLoss says what was lost where and why, and which setting allows more.
func describeLoss(n int64, e ledger.Event, c ledger.Cause) string {
	text := fmt.Sprintf("%d %s at %s: %s", n, e, c.Place(), c.Reason())
	if limit := limitOf(e, c); limit != "" {
		text += ", raise " + limit
	}
	return text
}

// limitOf is the key of the limit that a loss is due to; "" where none is.
func limitOf(e ledger.Event, c ledger.Cause) string {
	switch c {
	case ledger.MapFull, ledger.MapShare, ledger.TableFull:
		switch e {
		case ledger.Connection:
			return "limits::connections"
		case ledger.Failed:
			return "limits::half_open"
		case ledger.Listener:
			return "limits::listeners"
		case ledger.PortCount:
			return "limits::port_counters"
		}
	case ledger.RingFull:
		return "limits::ring_bytes"
	case ledger.RateLimited, ledger.RateShare:
		if e == ledger.Packet {
			return "packets::max_per_second"
		}
		return "limits::failed_per_second"
	case ledger.QueueFull:
		return "queue::max_bytes"
	case ledger.RetryExhausted:
		return "retry_on_failure::max_elapsed_time"
	}
	return ""
}

// last checks whatever the time.
func (w *lossWatch) last() {
	w.next = time.Time{}
	w.check(time.Now())
}

// logBooks says in one line what became of all events from Start to Shutdown, also of
// those that there were none of.
func logBooks(logger *zap.Logger, books *ledger.Ledger) {
	var fields []zap.Field
	for e := range ledger.Listener {
		b := books.Balance(e)
		fields = append(fields, zap.Dict(e.String(),
			zap.Int64("produced", b.Produced),
			zap.Int64("delivered", b.Delivered),
			zap.Int64("active", b.Active),
			zap.Int64("queued", b.Queued),
			zap.Int64("lost", b.Lost)))
	}
	logger.Info("event accounting", fields...)
}
