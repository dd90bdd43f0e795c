// SPDX-License-Identifier: Apache-2.0

package intake

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/figures"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/record"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/suspects"
)

// alonePrefix is before the name of a model in the origin of a block that it made without a finding.
const alonePrefix = "alone/"

// Models are those that may block alone.
type Models struct {
	Names []string
	// Windows are those in a row in which the score must be high.
	Windows int64
	// DryRunFirst is for how long their blocks only count.
	DryRunFirst time.Duration
}

// trials know for how long models have been watched.
type trials struct {
	// watched is until the last call of tick, last.
	watched map[string]time.Duration
	last    time.Duration
	// ended are models whose blocks are no longer a dry run.
	ended map[string]bool
}

func newTrials(names []string, now time.Duration) trials {
	t := trials{watched: make(map[string]time.Duration), last: now, ended: make(map[string]bool)}
	for _, name := range names {
		t.watched[name] = 0
	}
	return t
}

// alone decides on a score of a source that no rule suspects.
func (i *Intake) alone(v *Verdict, a *record.Asked) {
	name, is := suspects.Model(a.Rule)
	switch {
	case !is || !slices.Contains(i.set.Models.Names, name):
		v.Refusal = figures.NoFinding
	case !a.Proven:
		v.Refusal = figures.NotProven
	case a.Windows < i.set.Models.Windows:
		v.Refusal = figures.FewWindows
	default:
		v.Request.Origin.Name = alonePrefix + name
	}
}

// OnTrial tells whether an origin is a model alone that only counts yet.
func (i *Intake) OnTrial(o blocks.Origin) bool {
	name, alone := strings.CutPrefix(o.Name, alonePrefix)
	return o.Kind == blocks.Rule && alone && !i.trials.ended[name]
}

// Trials are the origins whose trial has ended since the last call.
func (i *Intake) Trials(now time.Duration) (ended []blocks.Origin) {
	t := &i.trials
	for name, watched := range t.watched {
		t.watched[name] = watched + max(now-t.last, 0)
		if t.watched[name] >= i.set.Models.DryRunFirst && !t.ended[name] {
			t.ended[name] = true
			ended = append(ended, blocks.Origin{Kind: blocks.Rule, Name: alonePrefix + name})
		}
	}
	t.last = now
	return ended
}

// Watched says for how long models have been watched, for a restart; nil if none is.
func (i *Intake) Watched() []byte {
	if len(i.trials.watched) == 0 {
		return nil
	}
	text, _ := json.Marshal(i.trials.watched)
	return text
}

// RestoreWatched puts back what Watched had returned. It drops models that are no longer named.
func (i *Intake) RestoreWatched(text []byte) error {
	var watched map[string]time.Duration
	if err := json.Unmarshal(text, &watched); err != nil {
		return fmt.Errorf("read for how long models were watched: %w", err)
	}
	for name := range i.trials.watched {
		i.trials.watched[name] = max(watched[name], 0)
	}
	return nil
}

// IsOrigin tells whether a rule that may block now can have been an origin.
func (i *Intake) IsOrigin(name string) bool {
	if model, alone := strings.CutPrefix(name, alonePrefix); alone {
		return slices.Contains(i.set.Models.Names, model)
	}
	return slices.Contains(i.set.Rules, name)
}
