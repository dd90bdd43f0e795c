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
				grown = append(grown, fmt.Sprintf("%d %s at %s: %s", n, e, c.Place(), c.Reason()))
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

// last checks whatever the time.
func (w *lossWatch) last() {
	w.next = time.Time{}
	w.check(time.Now())
}
