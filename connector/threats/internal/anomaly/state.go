// SPDX-License-Identifier: Apache-2.0

package anomaly

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

// stateVersion changes with the meaning of the state.
const stateVersion = 1

// state is what a Detector has learned.
type state struct {
	Version int `json:"version"`
	// Features and Window say which vectors were learned. Others can't be compared with them.
	Features []string                `json:"features"`
	Window   time.Duration           `json:"window"`
	Baseline [vector.Size]*histogram `json:"baseline"`
	Sample   [][]byte                `json:"sample"`
	Seen     uint64                  `json:"seen"`
	Learned  uint64                  `json:"learned"`
	Begin    time.Time               `json:"begin"`
	Ready    bool                    `json:"ready"`
}

// names are those of all features.
func names() []string {
	all := make([]string, vector.Size)
	for f := range all {
		all[f] = vector.Feature(f).String()
	}
	return all
}

// State returns what was learned from vectors of windows of this length.
func (d *Detector) State(window time.Duration) ([]byte, error) {
	s := state{
		Version: stateVersion, Features: names(), Window: window,
		Seen: d.seen, Learned: d.learned, Begin: d.begin, Ready: d.Ready(),
	}
	for f := range d.baseline {
		s.Baseline[f] = &d.baseline[f]
	}
	for i := range d.sample {
		s.Sample = append(s.Sample, d.sample[i][:])
	}
	return json.Marshal(&s)
}

// Restore takes over what was learned before. After an error the Detector is as it was.
func (d *Detector) Restore(text []byte, window time.Duration) error {
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("read the state of the anomaly score: %w", err)
	}
	if err := s.check(window); err != nil {
		return fmt.Errorf("the state of the anomaly score can't be used: %w", err)
	}
	restored := Detector{
		warmUp: d.warmUp, random: d.random,
		seen: s.Seen, learned: s.Learned, begin: s.Begin, sample: make([]binned, len(s.Sample)),
	}
	for f := range restored.baseline {
		restored.baseline[f] = *s.Baseline[f]
	}
	for i := range s.Sample {
		copy(restored.sample[i][:], s.Sample[i])
	}
	if s.Ready {
		restored.refresh()
	}
	*d = restored
	return nil
}

func (s *state) check(window time.Duration) error {
	switch {
	case s.Version != stateVersion:
		return fmt.Errorf("it has version %d, not %d", s.Version, stateVersion)
	case !slices.Equal(s.Features, names()):
		return fmt.Errorf("it has the features %v, not %v", s.Features, names())
	case s.Window != window:
		return fmt.Errorf("it was learned from windows of %v, not %v", s.Window, window)
	case len(s.Sample) > sampled, s.Ready && len(s.Sample) == 0:
		return fmt.Errorf("it has a sample of %d vectors", len(s.Sample))
	}
	for f, h := range s.Baseline {
		if h == nil || !h.sound() {
			return fmt.Errorf("the counts of %s are no counts", vector.Feature(f))
		}
	}
	for _, b := range s.Sample {
		if len(b) != vector.Size || slices.ContainsFunc(b, func(bin byte) bool { return bin >= bins && bin != absent }) {
			return errors.New("the sample has a vector that is none")
		}
	}
	return nil
}

// sound reports whether the counts can be those of vectors.
func (h *histogram) sound() bool {
	total := 0.0
	for _, n := range h.Counts {
		if n < 0 {
			return false
		}
		total += n
	}
	return total <= memory+1 && total-h.Total < 1 && h.Total-total < 1
}
