// SPDX-License-Identifier: Apache-2.0

// Package anomaly scores how unusual a vector is among those that were learned. It knows nothing
// of attacks: an unusual source may be an attacker, or a new backup job.
//
// The score is the mean of two that see different things. ECOD asks how rare each value is, and
// can't tell apart what is rarer than all that was seen. The robust z-score asks how far from the
// median each value is. Each is divided by its own 0.99 quantile. The score is the sum of the three
// features that add the most: an attack stands out in few, and the sum of all would be ruled by
// busy sources, of which many features are a little high. A score of 1 is as unusual as the most
// unusual hundredth of ordinary vectors.
package anomaly

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

const (
	// ordinary is the share of vectors that are learned after the warm-up.
	ordinary = 0.99
	// leastVectors is how many vectors a warm-up takes at least.
	leastVectors = 500
	// sampled is how many vectors are kept, of which the quantile is taken.
	sampled = 2048
	// memory is how many vectors are learned before all counts are halved, so that what was long
	// ago counts less. Of the sample, one in sampleEvery vectors replaces another one.
	memory      = 100_000
	sampleEvery = 64
	// The tables are made again when the learned vectors became an eighth more, within these
	// bounds.
	refreshShare              = 8
	leastRefresh, mostRefresh = 512, 8192
	// causes is how many features a score names.
	causes = 3
)

// Cause is a feature that made a score.
type Cause struct {
	Feature vector.Feature
	// Part is what it added to the score.
	Part float64
}

// Score says how unusual a vector is.
type Score struct {
	// Value is the sum of the causes.
	Value float64
	// Causes are the three features that add the most, the largest first.
	Causes [causes]Cause
	// Learned reports whether the vector was ordinary enough to be learned.
	Learned bool
}

// Detector learns what is ordinary. Its memory and its work for a vector are constant. It is not
// safe for concurrent use.
type Detector struct {
	warmUp time.Duration
	random *rand.Rand

	baseline [vector.Size]histogram
	sample   []binned
	seen     uint64
	learned  uint64
	begin    time.Time

	// tables are made of the baseline; nil during the warm-up.
	tables *tables
}

// tables have what each bin of each feature adds to a score. An absent feature adds nothing.
type tables struct {
	parts [vector.Size][256]parts
	// limit is the 0.99 quantile of scores.
	limit float64
	// due is how many vectors will have been learned when the tables are made again.
	due uint64
}

// parts are what a value adds to the two halves of a score.
type parts struct{ ecod, distance float32 }

// NewDetector makes a Detector that learns everything during a warm-up. The warm-up takes at
// least this time, and at least 500 vectors. The seed makes it repeatable.
func NewDetector(warmUp time.Duration, seed uint64) *Detector {
	return &Detector{warmUp: warmUp, random: rand.New(rand.NewPCG(seed, seed))}
}

// Ready reports whether the warm-up is over.
func (d *Detector) Ready() bool { return d.tables != nil }

// Judge scores a vector, and learns it if it is ordinary. A suspect is a source with an open
// finding: nothing is learned of it. There is no score during the warm-up.
func (d *Detector) Judge(v *vector.Vector, now time.Time, suspect bool) (Score, bool) {
	b := bin(v)
	if d.tables == nil {
		if !suspect {
			d.warm(&b, now)
		}
		return Score{}, false
	}
	score := d.tables.score(&b)
	if !suspect {
		d.keep(&b)
		if score.Value <= d.tables.limit {
			score.Learned = true
			d.learn(&b)
		}
	}
	return score, true
}

func (d *Detector) warm(b *binned, now time.Time) {
	if d.begin.IsZero() {
		d.begin = now
	}
	d.keep(b)
	d.learn(b)
	if d.learned >= leastVectors && now.Sub(d.begin) >= d.warmUp {
		d.refresh()
	}
}

// keep puts a vector into the sample, by chance.
func (d *Detector) keep(b *binned) {
	d.seen++
	if len(d.sample) < sampled {
		d.sample = append(d.sample, *b)
		return
	}
	if d.random.Uint64N(min(d.seen, sampled*sampleEvery)) < sampled {
		d.sample[d.random.IntN(sampled)] = *b
	}
}

func (d *Detector) learn(b *binned) {
	for f := range b {
		d.baseline[f].add(b[f])
		if d.baseline[f].Total >= memory {
			d.baseline[f].halve()
		}
	}
	d.learned++
	if d.tables != nil && d.learned >= d.tables.due {
		d.refresh()
	}
}

// refresh makes the tables. Their scale is such that the 0.99 quantiles of the sums of both halves are
// ½, and that of the score is 1.
func (d *Detector) refresh() {
	t := &tables{due: d.learned + min(max(d.learned/refreshShare, leastRefresh), mostRefresh)}
	var surprises, distances [bins]float64
	for f := range d.baseline {
		side := vector.Feature(f).Describe().Side
		d.baseline[f].surprises(side, &surprises)
		d.baseline[f].distances(side, &distances)
		for i := range surprises {
			t.parts[f][i] = parts{float32(surprises[i]), float32(distances[i])}
		}
	}
	values := make([]float64, len(d.sample))
	quantile := func(of func(*binned) float64) float64 {
		for i := range values {
			values[i] = of(&d.sample[i])
		}
		slices.Sort(values)
		return max(leastQuantile, values[int(ordinary*float64(len(values)-1))])
	}
	t.scale(0.5/quantile(func(b *binned) float64 { return t.sum(b, func(p parts) float32 { return p.ecod }) }),
		0.5/quantile(func(b *binned) float64 { return t.sum(b, func(p parts) float32 { return p.distance }) }))
	whole := 1 / quantile(func(b *binned) float64 { return t.score(b).Value })
	t.scale(whole, whole)
	t.limit = 1
	d.tables = t
}

// leastQuantile is for sources that all do the same.
const leastQuantile = 0.1

func (t *tables) scale(ecod, distance float64) {
	for f := range t.parts {
		for i := range t.parts[f] {
			t.parts[f][i].ecod *= float32(ecod)
			t.parts[f][i].distance *= float32(distance)
		}
	}
}

// sum adds up a half over all features.
func (t *tables) sum(b *binned, half func(parts) float32) (sum float64) {
	for f := range b {
		sum += float64(half(t.parts[f][b[f]]))
	}
	return sum
}

func (t *tables) score(b *binned) Score {
	var s Score
	for f := range b {
		p := t.parts[f][b[f]]
		if part := float64(p.ecod + p.distance); part > s.Causes[causes-1].Part {
			s.cause(Cause{vector.Feature(f), part})
		}
	}
	for _, c := range s.Causes {
		s.Value += c.Part
	}
	return s
}

// cause keeps the causes sorted.
func (s *Score) cause(c Cause) {
	for i := range s.Causes {
		if c.Part > s.Causes[i].Part {
			c, s.Causes[i] = s.Causes[i], c
		}
	}
}
