// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"math"
	"math/bits"
	"time"
)

// Sources says what is counted per source. The zero value counts nothing.
type Sources struct {
	Enabled bool
	// Interval is the time between two reports.
	Interval time.Duration
	// IPv6Prefix is the length of the prefix that is one source.
	IPv6Prefix int
	// MaxRecords bounds the sources that have a record of their own in an interval.
	MaxRecords int
	// MinAttempts is from how many ordinary attempts in an interval on a source has a record.
	MinAttempts int
	// IdleTimeout is how long a source that does nothing is followed.
	IdleTimeout time.Duration
	// MaxSources is how many are followed at one time.
	MaxSources uint32
	// Seed begins the hashes of the sketch. The kernel side draws it.
	Seed uint64
	// SilentAge is from which age on a connection without an answer is silent; 0 means
	// source.SilentAge.
	SilentAge time.Duration
	// Records reports what was counted. Without, it is only counted.
	Records bool
	// Services reports how listeners and their network namespaces fare, as often. Namespaces
	// reports only the latter.
	Services, Namespaces bool
}

// Mask has the halves of the mask of IPv6Prefix, in network byte order.
func (s *Sources) Mask() [2]uint64 {
	var halves [2]uint64
	for i := range halves {
		length := min(max(s.IPv6Prefix-64*i, 0), 64)
		halves[i] = bits.ReverseBytes64(^(math.MaxUint64 >> length))
	}
	return halves
}
