// SPDX-License-Identifier: Apache-2.0

package model

import "time"

// breaker begins a pause after failures in a row. The first request after a pause is a trial: if it
// fails, there is another pause.
type breaker struct {
	most   int
	pause  time.Duration
	failed int
	until  time.Time
}

func (b *breaker) open(now time.Time) bool { return now.Before(b.until) }

func (b *breaker) success() { b.failed = 0 }

// failure reports whether a pause begins.
func (b *breaker) failure(now time.Time) bool {
	b.failed++
	if b.failed < b.most {
		return false
	}
	b.until = now.Add(b.pause)
	return true
}
