// SPDX-License-Identifier: Apache-2.0

package vector

import "math"

// Feature is a place in a vector.
type Feature uint8

// The features, in the order of a vector.
const (
	Attempts Feature = iota
	Failed
	FailedShare
	DistinctPorts
	FailedPorts
	StrayPorts
	ImpossibleFlags
	MalformedSegments
	StraySegments
	HalfOpen
	Unfinished
	CompletedHandshakes
	UnansweredClosed
	UnansweredShare
	OpenConnections
	SilentOpen
	SilentShare
	ReceivedPerSecond
	ReceivedPerOpen
	ClosedConnections
	ClientResetShare
	MeanDuration
	MeanReceived
	MeanSent
	MeanRTT
	UnlikeService

	// Size is how many features a vector has.
	Size int = iota
)

// Side says which values of a feature are unusual.
type Side uint8

// Sides.
const (
	// High is for counts and shares: a source that does little is not suspicious.
	High Side = iota
	// Both is for sizes and times.
	Both
)

// Description describes a feature.
type Description struct {
	// Name is its name in configurations, attributes and documents.
	Name string
	Side Side
	// Logarithmic features are scaled as ln(1 + Factor × value). Shares stay as they are.
	Logarithmic bool
	Factor      float64
	// Meaning says what the feature is.
	Meaning string
	// evaluate finds the value in a window; NaN if it was not read.
	evaluate func(*Facts, *endings) float64
}

// Limit is the highest scaled value that is told apart from higher ones.
func (d *Description) Limit() float64 {
	if d.Logarithmic {
		return highestLog
	}
	return 1
}

// highestLog is the logarithm of 300 million, such as attempts, or bytes a second.
const highestLog = 19.5

// prior is added below a share, so that one failure of one attempt is no share of 1.
const prior = 4

// Describe returns the description of a feature.
func (f Feature) Describe() *Description { return &features[f] }

func (f Feature) String() string { return features[f].Name }

// Find finds a feature by its name.
func Find(name string) (Feature, bool) {
	for f := range features {
		if features[f].Name == name {
			return Feature(f), true
		}
	}
	return 0, false
}

func count(name, meaning string, evaluate func(*Facts, *endings) float64) Description {
	return Description{Name: name, Logarithmic: true, Factor: 1, Meaning: meaning, evaluate: evaluate}
}

func share(name, meaning string, evaluate func(*Facts, *endings) float64) Description {
	return Description{Name: name, Meaning: meaning, evaluate: evaluate}
}

// sized is a size or time; factor turns it into a unit of which one is small.
func sized(name string, factor float64, meaning string, evaluate func(*Facts, *endings) float64) Description {
	return Description{Name: name, Side: Both, Logarithmic: true, Factor: factor, Meaning: meaning, evaluate: evaluate}
}

var features = [Size]Description{
	Attempts:    count("attempts", "SYNs, or where none were read, attempts that ended", attempts),
	Failed:      count("failed", "attempts that were refused, reset or timed out", failed),
	FailedShare: share("failed_share", "`failed` / (`attempts` + 4)", func(f *Facts, e *endings) float64 { return ratio(failed(f, e), attempts(f, e)) }),
	DistinctPorts: count("ports", "distinct ports since the source was first seen",
		func(f *Facts, _ *endings) float64 { return f.read(Ports) }),
	FailedPorts: count("failed_ports", "distinct ports where an attempt failed, since the source was first seen",
		func(f *Facts, _ *endings) float64 { return f.read(PortsFailed) }),
	StrayPorts: count("stray_ports", "distinct ports that got segments of no connection, since the source was first seen",
		func(f *Facts, _ *endings) float64 { return f.read(PortsStray) }),
	ImpossibleFlags: count("impossible_flags", "segments with flags that no TCP sends",
		func(f *Facts, _ *endings) float64 {
			return f.read(FlagsNull, FlagsFIN, FlagsXmas, FlagsSYNFIN, FlagsSYNRST)
		}),
	MalformedSegments: count("malformed", "malformed headers, port 0, and segments from their own destination",
		func(f *Facts, _ *endings) float64 { return f.read(Malformed, PortZero, Land) }),
	StraySegments: count("stray_segments", "segments of no connection, other than SYNs, that the host answered with a reset",
		func(f *Facts, _ *endings) float64 { return f.read(ResetSYNACK, ResetFlags, ResetOther) }),
	HalfOpen: count("half_open", "handshakes that the client reset or never completed",
		func(f *Facts, _ *endings) float64 { return f.read(HalfOpenReset, HalfOpenTimeout) }),
	Unfinished: count("unfinished", "SYNs to listening ports, less completed handshakes", unfinished),
	CompletedHandshakes: count("completed", "completed handshakes",
		func(f *Facts, _ *endings) float64 { return f.read(Completed) }),
	UnansweredClosed: count("unanswered", "connections that closed before the server had sent a byte",
		func(f *Facts, _ *endings) float64 { return f.read(Unanswered) }),
	UnansweredShare: share("unanswered_share", "`unanswered` / (`completed` + 4)", unansweredShare),
	OpenConnections: count("open", "open connections, the most at one time",
		func(f *Facts, _ *endings) float64 { return f.read(Open) }),
	SilentOpen: count("silent", "open connections older than 10 s to which the server has sent nothing, the most at one time",
		func(f *Facts, _ *endings) float64 { return f.read(OpenSilent) }),
	SilentShare: share("silent_share", "`silent` / (`open` + 4)", silentShare),
	ReceivedPerSecond: count("receive_rate", "bytes a second that open connections received, the highest",
		func(f *Facts, _ *endings) float64 { return f.read(ReceiveRate) }),
	ReceivedPerOpen: sized("receive_rate_per_open", 1, "`receive_rate` / `open`", receivedPerOpen),
	ClosedConnections: count("closed", "connections that closed",
		func(f *Facts, _ *endings) float64 { return f.read(ClosedCount) }),
	ClientResetShare: share("client_reset_share", "records of closed connections that the client reset / (all of them + 4)",
		func(_ *Facts, e *endings) float64 { return ratio(e.reset, e.closed) }),
	MeanDuration: sized("duration", 1e3, "mean duration of those that closed, by their records, in seconds",
		func(_ *Facts, e *endings) float64 { return e.duration.value() }),
	MeanReceived: sized("received", 1, "mean bytes that they received",
		func(_ *Facts, e *endings) float64 { return e.received.value() }),
	MeanSent: sized("sent", 1, "mean bytes that they sent",
		func(_ *Facts, e *endings) float64 { return e.sent.value() }),
	MeanRTT: sized("rtt", 1e6, "mean round-trip time, in seconds",
		func(_ *Facts, e *endings) float64 { return e.rtt.value() }),
	UnlikeService: {
		Name: "unlike_service", Logarithmic: true, Factor: 10, evaluate: unlikeService,
		Meaning: "how rare size and duration of each are among connections to the same port, as -ln of their share: the sum / (number + 2)",
	},
}

// unlikeService is drawn towards 0 where there are few connections.
func unlikeService(_ *Facts, e *endings) float64 {
	const few = 2
	if e.unlike.n == 0 {
		return math.NaN()
	}
	return e.unlike.sum / (e.unlike.n + few)
}

// read sums counts; NaN if none of them was read.
func (f *Facts) read(wanted ...Count) float64 {
	if !f.has(wanted...) {
		return math.NaN()
	}
	return f.sum(wanted...)
}

func (m *mean) value() float64 {
	if m.n == 0 {
		return math.NaN()
	}
	return m.sum / m.n
}

func ratio(part, whole float64) float64 { return min(1, part/(whole+prior)) }

func attempts(f *Facts, _ *endings) float64 {
	if f.has(SYNListening, SYNClosed) {
		return f.sum(SYNListening, SYNClosed)
	}
	return f.read(Completed, ResetSYN, HalfOpenReset, HalfOpenTimeout)
}

// failed takes the larger of the counts that see a refused attempt from two places.
func failed(f *Facts, _ *endings) float64 {
	if !f.has(SYNClosed, ResetSYN, HalfOpenReset, HalfOpenTimeout) {
		return math.NaN()
	}
	return max(f.sum(SYNClosed), f.sum(ResetSYN)) + f.sum(HalfOpenReset, HalfOpenTimeout)
}

func unfinished(f *Facts, _ *endings) float64 {
	if !f.has(SYNListening) || !f.has(Completed) {
		return math.NaN()
	}
	return max(0, f.sum(SYNListening)-f.sum(Completed))
}

func unansweredShare(f *Facts, _ *endings) float64 {
	return ratio(f.read(Unanswered), f.read(Completed))
}

func silentShare(f *Facts, _ *endings) float64 {
	return ratio(f.read(OpenSilent), f.read(Open))
}

func receivedPerOpen(f *Facts, _ *endings) float64 {
	open := f.read(Open)
	if !(open > 0) {
		return math.NaN()
	}
	return f.read(ReceiveRate) / open
}
