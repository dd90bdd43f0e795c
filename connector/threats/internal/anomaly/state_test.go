// SPDX-License-Identifier: Apache-2.0

package anomaly

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const window = 10 * time.Second

func TestStateSurvives(t *testing.T) {
	d, random := trained(t, 3000)
	text, err := d.State(window)
	require.NoError(t, err)
	assert.Less(t, len(text), 256<<10)
	restored := NewDetector(time.Hour, 7)
	require.NoError(t, restored.Restore(text, window))
	for range 100 {
		v := client(random)
		assert.InDelta(t, judge(t, d, v, true).Value, judge(t, restored, v, true).Value, 1e-9)
	}
	assert.Equal(t, judge(t, d, scanner(500), true).Causes, judge(t, restored, scanner(500), true).Causes)
}

func TestStateOfAWarmUpSurvives(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	d := NewDetector(time.Hour, 1)
	for range 400 {
		d.Judge(client(random), start, false)
	}
	text, err := d.State(window)
	require.NoError(t, err)
	restored := NewDetector(time.Hour, 1)
	require.NoError(t, restored.Restore(text, window))
	for range 99 {
		restored.Judge(client(random), start.Add(time.Hour), false)
	}
	assert.False(t, restored.Ready())
	restored.Judge(client(random), start.Add(time.Hour), false)
	assert.True(t, restored.Ready(), "the warm-up goes on where it was")
}

func TestRefusedStates(t *testing.T) {
	d, _ := trained(t, 1000)
	text, err := d.State(window)
	require.NoError(t, err)
	change := func(key string, value any) string {
		var all map[string]any
		require.NoError(t, json.Unmarshal(text, &all))
		all[key] = value
		changed, err := json.Marshal(all)
		require.NoError(t, err)
		return string(changed)
	}
	for name, test := range map[string]struct{ text, says string }{
		"empty":            {"", "read the state"},
		"cut":              {string(text[:len(text)/2]), "read the state"},
		"another version":  {change("version", 2), "version 2, not 1"},
		"other features":   {change("features", []string{"x"}), "[x], not [attempts"},
		"another window":   {change("window", time.Minute), "1m0s, not 10s"},
		"no counts":        {change("baseline", nil), "attempts are no counts"},
		"wrong counts":     {strings.Replace(string(text), `"total":`, `"total":1`, 1), "are no counts"},
		"negative counts":  {strings.Replace(string(text), `"counts":[0,`, `"counts":[-1,`, 1), "are no counts"},
		"no sample":        {change("sample", nil), "a sample of 0"},
		"a large sample":   {change("sample", make([][]byte, sampled+1)), "a sample of 2049"},
		"a short vector":   {change("sample", [][]byte{{1, 2}}), "a vector that is none"},
		"a bin beyond all": {change("sample", [][]byte{[]byte(strings.Repeat("\xfd", len(names())))}), "a vector that is none"},
	} {
		t.Run(name, func(t *testing.T) {
			fresh := NewDetector(time.Hour, 1)
			require.ErrorContains(t, fresh.Restore([]byte(test.text), window), test.says)
			assert.Equal(t, NewDetector(time.Hour, 1), fresh)
		})
	}
}

func FuzzRestore(f *testing.F) {
	d := NewDetector(time.Hour, 1)
	d.Judge(scanner(9), start, false)
	text, err := d.State(window)
	require.NoError(f, err)
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		restored := NewDetector(time.Hour, 1)
		if restored.Restore(text, window) == nil && restored.Ready() {
			judge(t, restored, scanner(100), false)
		}
	})
}
