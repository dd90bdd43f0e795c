// SPDX-License-Identifier: Apache-2.0

package vector

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var start = time.Unix(1_700_000_000, 0)

// facts are those of a record with these counts.
func facts(values map[Count]float64) *Facts {
	var f Facts
	for c, value := range values {
		f.Set(c, value)
	}
	return &f
}

// windowOf is the one window that the records make.
func windowOf(t *testing.T, closed []Closed, records ...*Facts) Window[string, string] {
	t.Helper()
	w := NewWindows[string, string](10*time.Second, 8, 8)
	for i, f := range records {
		w.Add("a", start.Add(time.Duration(i)*time.Second), f)
	}
	for i := range closed {
		w.AddClosed("a", start.Add(time.Second), Service{}, &closed[i])
	}
	var windows []Window[string, string]
	w.Expire(start.Add(10*time.Second), func(ended *Window[string, string]) { windows = append(windows, *ended) })
	require.Len(t, windows, 1)
	return windows[0]
}

func TestFeatures(t *testing.T) {
	seen := map[string]bool{}
	for f := range Size {
		d := Feature(f).Describe()
		assert.NotEmpty(t, d.Name)
		assert.NotEmpty(t, d.Meaning, d.Name)
		assert.False(t, seen[d.Name], d.Name)
		seen[d.Name] = true
		found, known := Find(d.Name)
		assert.True(t, known)
		assert.Equal(t, Feature(f), found)
	}
	_, known := Find("horoscope")
	assert.False(t, known)
}

func TestScan(t *testing.T) {
	w := windowOf(t, nil,
		facts(map[Count]float64{SYNListening: 1, SYNClosed: 249, ResetSYN: 249, Completed: 1, Ports: 250, PortsFailed: 249, FlagsXmas: 2}),
		facts(map[Count]float64{SYNListening: 1, SYNClosed: 249, ResetSYN: 249, Completed: 0, Ports: 498, PortsFailed: 497, HalfOpenReset: 1, FlagsNull: 1}),
	)
	for f, expected := range map[Feature]float64{
		Attempts: 500, Failed: 499, FailedShare: 499. / 504, DistinctPorts: 498, FailedPorts: 497,
		ImpossibleFlags: 3, HalfOpen: 1, Unfinished: 1, CompletedHandshakes: 1,
	} {
		assert.Equal(t, expected, w.Vector[f], "%v", f)
	}
	for _, f := range []Feature{StrayPorts, SilentOpen, SilentShare, ReceivedPerOpen, ClosedConnections, MeanDuration, MeanRTT, MalformedSegments} {
		assert.True(t, math.IsNaN(w.Vector[f]), "%v was not read", f)
	}
	assert.True(t, w.Proven)
}

func TestUnreadIsAbsent(t *testing.T) {
	w := windowOf(t, nil, facts(nil))
	for f, value := range w.Vector {
		if f := Feature(f); f == ClientResetShare {
			assert.Zero(t, value, "%v", f)
		} else {
			assert.True(t, math.IsNaN(value), "%v", f)
		}
	}
	assert.False(t, w.Proven)
}

func TestAttemptsWithoutPacketPrograms(t *testing.T) {
	w := windowOf(t, nil, facts(map[Count]float64{Completed: 3, ResetSYN: 2, HalfOpenReset: 1, HalfOpenTimeout: 4}))
	assert.Equal(t, 10., w.Vector[Attempts])
	assert.Equal(t, 7., w.Vector[Failed])
	assert.True(t, math.IsNaN(w.Vector[Unfinished]))
}

func TestOpenAndClosed(t *testing.T) {
	w := windowOf(t,
		[]Closed{
			{Duration: 0.2, Received: 1000, Sent: 500, RTT: -1, ClientReset: true},
			{Duration: 0.4, Received: 1200, Sent: -1, RTT: 0.03},
		},
		facts(map[Count]float64{Open: 40, OpenSilent: 30, ReceiveRate: 800, ClosedCount: 2}),
		facts(map[Count]float64{Open: 20, OpenSilent: 36, ReceiveRate: 400}),
	)
	for f, expected := range map[Feature]float64{
		OpenConnections: 40, SilentOpen: 36, SilentShare: 36. / 44, ReceivedPerSecond: 800, ReceivedPerOpen: 20,
		ClosedConnections: 2, ClientResetShare: 1. / 6, MeanDuration: 0.3, MeanReceived: 1100, MeanSent: 500, MeanRTT: 0.03,
	} {
		assert.InDelta(t, expected, w.Vector[f], 1e-9, "%v", f)
	}
}

func TestScale(t *testing.T) {
	assert.Zero(t, Attempts.Scale(0))
	assert.InDelta(t, math.Log(501), Attempts.Scale(500), 1e-9)
	assert.InDelta(t, math.Log(301), MeanDuration.Scale(0.3), 1e-9)
	assert.Equal(t, 0.5, FailedShare.Scale(0.5))
	assert.True(t, math.IsNaN(Attempts.Scale(math.NaN())))
	for f := range Size {
		f := Feature(f)
		assert.Equal(t, f.Describe().Limit(), f.Scale(1e300), "%v is bounded", f)
		assert.Equal(t, f.Describe().Limit(), f.Scale(math.Inf(1)), "%v is bounded", f)
		assert.GreaterOrEqual(t, f.Scale(-1e300), 0., "%v is bounded", f)
	}
	v := Vector{}
	v[Attempts] = math.E - 1
	scaled := v.Scaled()
	assert.InDelta(t, 1, scaled[Attempts], 1e-9)
}

func TestWindowsEndInOrder(t *testing.T) {
	w := NewWindows[string, string](10*time.Second, 8, 8)
	one := facts(map[Count]float64{Completed: 1})
	*w.Add("a", start, one) = "about a"
	w.Add("b", start.Add(4*time.Second), one)
	w.Add("a", start.Add(9*time.Second), one)
	w.AddClosed("only closed", start.Add(4*time.Second), Service{}, &Closed{})
	var ended []string
	note := func(at *Window[string, string]) {
		ended = append(ended, at.Key+at.About)
		assert.Equal(t, 10*time.Second, at.End.Sub(at.Begin))
	}
	w.Expire(start.Add(9*time.Second), note)
	assert.Empty(t, ended)
	w.Expire(start.Add(10*time.Second), note)
	assert.Equal(t, []string{"aabout a"}, ended)
	w.Add("a", start.Add(11*time.Second), one)
	w.Expire(start.Add(time.Hour), note)
	assert.Equal(t, []string{"aabout a", "b", "a"}, ended, "closed connections alone make no vector")
	assert.Zero(t, w.Open())
}

func TestWindowsAreBounded(t *testing.T) {
	w := NewWindows[int, string](10*time.Second, 100, 8)
	one := facts(map[Count]float64{SYNClosed: 1})
	for i := range 1000 {
		w.Add(i, start, one)
		w.Add(i, start, one)
	}
	assert.Equal(t, 100, w.Open())
	assert.EqualValues(t, 2*900, w.Lost())
	ended := 0
	w.Expire(start.Add(10*time.Second), func(at *Window[int, string]) {
		ended++
		assert.Equal(t, 2., at.Vector[Attempts])
	})
	assert.Equal(t, 100, ended)
	w.Add(5000, start.Add(time.Minute), one)
	assert.Equal(t, 1, w.Open())
}

// TestWindowsByAModel compares with a plain map of all records.
func TestWindowsByAModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	w := NewWindows[int, string](10*time.Second, 1000, 8)
	sums := map[int]float64{}
	check := func(at *Window[int, string]) {
		assert.Equal(t, sums[at.Key], at.Vector[Attempts])
		delete(sums, at.Key)
	}
	for second := range 300 {
		now := start.Add(time.Duration(second) * time.Second)
		w.Expire(now, check)
		for range random.IntN(20) {
			key, n := random.IntN(50), float64(random.IntN(5))
			w.Add(key, now, facts(map[Count]float64{SYNListening: n}))
			sums[key] += n
		}
	}
	w.Expire(start.Add(time.Hour), check)
	assert.Empty(t, sums)
	assert.Zero(t, w.Lost())
}

func BenchmarkWindows(b *testing.B) {
	w := NewWindows[int, string](10*time.Second, 64<<10, 8)
	f := facts(map[Count]float64{SYNListening: 3, SYNClosed: 2, Completed: 3, Ports: 5, PortsFailed: 2, Open: 1, OpenSilent: 0, ReceiveRate: 1e4})
	now := start
	for i := 0; b.Loop(); i++ {
		if i%1000 == 0 {
			now = now.Add(time.Second)
			w.Expire(now, func(*Window[int, string]) {})
		}
		w.Add(i%1000, now, f)
	}
}

var update = flag.Bool("update", false, "write the table of features")

// TestPageHasTheFeatures compares docs/anomaly.md with the features.
func TestPageHasTheFeatures(t *testing.T) {
	const page = "../../../../docs/anomaly.md"
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	begin := strings.Index(string(text), "<!-- features: ")
	end := strings.Index(string(text), "<!-- end of features -->")
	require.Positive(t, begin)
	require.Greater(t, end, begin)
	mark, _, _ := strings.Cut(string(text[begin:]), "\n")
	var table strings.Builder
	table.WriteString(mark + "\n\n| Feature | Meaning | Unusual if |\n|---|---|---|\n")
	for _, d := range features {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", d.Name, d.Meaning, [...]string{High: "high", Both: "high or low"}[d.Side])
	}
	table.WriteString("\n")
	if *update {
		whole := string(text[:begin]) + table.String() + string(text[end:])
		require.NoError(t, os.WriteFile(page, []byte(whole), 0o644))
		return
	}
	assert.Equal(t, table.String(), string(text[begin:end]), "go test ./connector/threats/internal/vector -update")
}
