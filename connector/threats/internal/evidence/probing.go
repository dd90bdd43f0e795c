// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"slices"
	"time"
)

// maxPaths is how many paths of a source are told apart.
const maxPaths = 256

// Probing counts the paths for which a source got an answer 4xx.
type Probing struct {
	Bucket Bucket
	// Paths are hashes, of this process only, so that they don't outlive it.
	paths []uint32
	// Distinct paths failed, and All requests were made, since the bucket began to fill. Failed are
	// those with an answer 4xx.
	Distinct, All, Failed uint64
}

// See notes a path that failed. It returns the level of the bucket, or 0 if the path is known.
func (p *Probing) See(path uint32, at int64, leak time.Duration) float64 {
	if slices.Contains(p.paths, path) {
		return 0
	}
	level := p.Bucket.Pour(at, leak)
	if level == 1 {
		*p = Probing{Bucket: p.Bucket, paths: p.paths[:0], All: 1, Failed: 1}
	}
	p.Distinct++
	if len(p.paths) < maxPaths {
		p.paths = append(p.paths, path)
	}
	return level
}
