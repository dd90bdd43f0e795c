// SPDX-License-Identifier: Apache-2.0

package blocks

import "time"

// Settings of a table.
type Settings struct {
	// IPv6Prefix is the length that an IPv6 address is blocked with, 64 by default.
	IPv6Prefix int
	// Widest4 and Widest6 are the shortest prefixes that a rule may block.
	Widest4, Widest6 int
	// Length is that of the first block of a key. It doubles with each repetition, up to MaxTTL.
	Length, MaxTTL time.Duration
	// Jitter is the part of a length by which it varies, so that nobody knows when a block ends and
	// blocks that began together don't end together. 0.1 is ± 10 %.
	Jitter float64
	// Random is from 0 to 1, without 1.
	Random func() float64
	// PerMinute is how many new blocks rules may make.
	PerMinute int
	// Limits are how many blocks each kind of origin may have. They don't share their room, so that
	// no kind takes another's.
	Limits [Kinds]int
	// Remembered is how many keys are remembered after their block, for their next step.
	Remembered int
	// Forget is how long after its last block a key starts again at step 1.
	Forget time.Duration
}

// Defaults are those of the configuration.
func Defaults() Settings {
	return Settings{
		IPv6Prefix: 64, Widest4: 24, Widest6: 48,
		Length: 10 * time.Minute, MaxTTL: 24 * time.Hour, Jitter: 0.1,
		PerMinute:  1000,
		Limits:     [Kinds]int{Rule: 100_000, File: 200_000, CrowdSec: 200_000, Operator: 1000},
		Remembered: 100_000, Forget: 24 * time.Hour,
	}
}

// maxOrigins is how many origins may block one key.
const maxOrigins = 16
