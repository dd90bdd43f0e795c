// SPDX-License-Identifier: Apache-2.0

package anomaly

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

var start = time.Unix(1_700_000_000, 0)

// client is the window of somebody who uses a service.
func client(random *rand.Rand) *vector.Vector {
	completed := math.Floor(math.Exp(random.NormFloat64()*0.8 + 1.5))
	v := vector.Vector{
		vector.Attempts: completed, vector.CompletedHandshakes: completed, vector.DistinctPorts: 1 + float64(random.IntN(2)),
		vector.OpenConnections: float64(random.IntN(4)), vector.ReceivedPerSecond: math.Exp(random.NormFloat64() + 6),
		vector.ClosedConnections: completed,
		vector.MeanDuration:      math.Exp(random.NormFloat64() - 2),
		vector.MeanReceived:      math.Exp(random.NormFloat64() + 6), vector.MeanSent: math.Exp(random.NormFloat64() + 8),
		vector.MeanRTT: math.Exp(random.NormFloat64()*0.5 - 5),
	}
	if random.IntN(50) == 0 {
		v[vector.Failed], v[vector.FailedPorts] = 1, 1
		v[vector.FailedShare] = 1 / (v[vector.Attempts] + 4)
	}
	v[vector.StrayPorts] = math.NaN()
	return &v
}

// scanner is the window of somebody who tries ports.
func scanner(ports float64) *vector.Vector {
	return &vector.Vector{
		vector.Attempts: ports, vector.Failed: ports, vector.FailedShare: ports / (ports + 4), vector.DistinctPorts: ports,
		vector.FailedPorts: ports, vector.ReceivedPerOpen: math.NaN(), vector.MeanDuration: math.NaN(),
		vector.MeanReceived: math.NaN(), vector.MeanSent: math.NaN(), vector.MeanRTT: math.NaN(), vector.StrayPorts: math.NaN(),
	}
}

// trained is a detector that learned from clients for an hour.
func trained(t testing.TB, clients int) (*Detector, *rand.Rand) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	d := NewDetector(time.Hour, 1)
	for i := range clients {
		_, ready := d.Judge(client(random), start.Add(time.Hour*time.Duration(i)/time.Duration(clients-1)), false)
		require.False(t, ready, "no score during the warm-up")
	}
	require.True(t, d.Ready())
	return d, random
}

func judge(t *testing.T, d *Detector, v *vector.Vector, suspect bool) Score {
	t.Helper()
	score, ready := d.Judge(v, start.Add(2*time.Hour), suspect)
	require.True(t, ready)
	return score
}

func TestScannersStandOut(t *testing.T) {
	d, random := trained(t, 5000)
	highest := 0.0
	for range 1000 {
		highest = max(highest, judge(t, d, client(random), true).Value)
	}
	for _, ports := range []float64{20, 500, 65535} {
		score := judge(t, d, scanner(ports), true)
		assert.Greater(t, score.Value, highest, "%v ports", ports)
		named := map[vector.Feature]bool{}
		for _, cause := range score.Causes {
			named[cause.Feature] = true
		}
		assert.True(t, named[vector.FailedPorts] || named[vector.FailedShare], "%v", score.Causes)
	}
	assert.Greater(t, judge(t, d, scanner(500), true).Value, judge(t, d, scanner(20), true).Value,
		"distances tell apart what is rarer than all that was seen")
}

func TestScale(t *testing.T) {
	d, random := trained(t, 5000)
	above := 0
	for range 5000 {
		if judge(t, d, client(random), true).Value > d.tables.limit {
			above++
		}
	}
	assert.InDelta(t, 50, above, 35, "one in a hundred is above the quantile")
	assert.InDelta(t, 1, d.tables.limit, 0.3, "and the quantile is about 1")
}

func TestScoreIsWhatItsFeaturesAdd(t *testing.T) {
	d, _ := trained(t, 2000)
	score := judge(t, d, scanner(300), true)
	b, total := bin(scanner(300)), 0.0
	parts := map[vector.Feature]float64{}
	for f := range b {
		p := d.tables.parts[f][b[f]]
		parts[vector.Feature(f)] = float64(p.ecod + p.distance)
	}
	for i, cause := range score.Causes {
		total += cause.Part
		assert.InDelta(t, parts[cause.Feature], cause.Part, 1e-6)
		delete(parts, cause.Feature)
		if i > 0 {
			assert.LessOrEqual(t, cause.Part, score.Causes[i-1].Part)
		}
	}
	assert.InDelta(t, total, score.Value, 1e-9)
	for f, part := range parts {
		assert.LessOrEqual(t, part, score.Causes[causes-1].Part, "%v", f)
	}
}

func TestAbsentFeaturesAddNothing(t *testing.T) {
	d, _ := trained(t, 1000)
	var v vector.Vector
	for f := range v {
		v[f] = math.NaN()
	}
	assert.Zero(t, judge(t, d, &v, true).Value)
}

func TestSuspectsTeachNothing(t *testing.T) {
	d, _ := trained(t, 1000)
	before, err := d.State(time.Second)
	require.NoError(t, err)
	for range 5000 {
		assert.False(t, judge(t, d, scanner(500), true).Learned)
	}
	after, err := d.State(time.Second)
	require.NoError(t, err)
	assert.Equal(t, before, after)
	warming := NewDetector(time.Hour, 1)
	for range 2 * leastVectors {
		warming.Judge(scanner(500), start, true)
		warming.Judge(scanner(500), start.Add(2*time.Hour), true)
	}
	assert.False(t, warming.Ready())
	assert.Zero(t, warming.learned)
}

func TestUnusualVectorsTeachNothing(t *testing.T) {
	d, random := trained(t, 5000)
	for range 20 {
		assert.False(t, judge(t, d, scanner(500), false).Learned)
	}
	learned := 0
	for range 1000 {
		if judge(t, d, client(random), false).Learned {
			learned++
		}
	}
	assert.InDelta(t, 990, learned, 20)
}

func TestWarmUpTakesTimeAndVectors(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	d := NewDetector(time.Hour, 1)
	for range 3 * leastVectors {
		d.Judge(client(random), start, false)
	}
	assert.False(t, d.Ready(), "an hour is not over")
	d.Judge(client(random), start.Add(time.Hour), false)
	assert.True(t, d.Ready())
	d = NewDetector(time.Hour, 1)
	for range leastVectors - 1 {
		d.Judge(client(random), start.Add(9*time.Hour), false)
	}
	d.Judge(client(random), start.Add(99*time.Hour), true)
	assert.False(t, d.Ready(), "too few vectors")
}

func TestSameForAllClients(t *testing.T) {
	d := NewDetector(0, 1)
	same := &vector.Vector{vector.Attempts: 1, vector.CompletedHandshakes: 1}
	for range leastVectors {
		d.Judge(same, start, false)
	}
	assert.Less(t, judge(t, d, same, true).Value, 1.)
	score := judge(t, d, scanner(100), true)
	assert.Greater(t, score.Value, 10.)
	assert.False(t, math.IsInf(score.Value, 0) || math.IsNaN(score.Value))
}

// TestForgets holds that what was ordinary long ago counts less, and that counts are bounded.
func TestForgets(t *testing.T) {
	d := NewDetector(0, 1)
	early := &vector.Vector{vector.Attempts: 1000}
	for range memory {
		d.Judge(early, start, false)
	}
	late := &vector.Vector{vector.Attempts: 1}
	for range 3 * memory {
		d.Judge(late, start, false)
	}
	h := &d.baseline[vector.Attempts]
	assert.LessOrEqual(t, h.Total, float64(memory))
	b := bin(early)
	assert.Less(t, h.Counts[b[vector.Attempts]], 0.15*memory)
	assert.Len(t, d.sample, sampled)
	assert.Greater(t, judge(t, d, early, true).Value, judge(t, d, late, true).Value)
}

func TestJudgingAllocatesNothing(t *testing.T) {
	d, random := trained(t, 5000)
	v := client(random)
	assert.Zero(t, testing.AllocsPerRun(100, func() { d.Judge(v, start, true) }))
}

func TestExtremes(t *testing.T) {
	d, _ := trained(t, 1000)
	for _, value := range []float64{-1e300, -1, 0, 1, 1e9, 1e300, math.Inf(1), math.Inf(-1), math.NaN()} {
		var v vector.Vector
		for f := range v {
			v[f] = value
		}
		score := judge(t, d, &v, false)
		assert.False(t, math.IsNaN(score.Value) || math.IsInf(score.Value, 0), "%v", value)
	}
}

func BenchmarkJudge(b *testing.B) {
	d, random := trained(b, 5000)
	vectors := make([]*vector.Vector, 512)
	for i := range vectors {
		vectors[i] = client(random)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Judge(vectors[i%len(vectors)], start, false)
	}
}

// TestBins holds that a higher value never has a lower bin, and that counts are told apart.
func TestBins(t *testing.T) {
	at := func(f vector.Feature, value float64) uint8 {
		var v vector.Vector
		v[f] = value
		return bin(&v)[f]
	}
	for f := range vector.Size {
		f, before := vector.Feature(f), uint8(0)
		for value := 1e-7; value < 1e12; value *= 1.01 {
			b := at(f, value)
			require.GreaterOrEqual(t, b, before, "%v %v", f, value)
			require.Less(t, b, uint8(bins))
			before = b
		}
		assert.EqualValues(t, bins-1, before)
	}
	for value := 0.; value < 8; value++ {
		assert.Less(t, at(vector.Failed, value), at(vector.Failed, value+1), "%v", value)
	}
	assert.Less(t, at(vector.FailedShare, 0.01), at(vector.FailedShare, 0.02))
}
