// SPDX-License-Identifier: Apache-2.0

package model

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestQuoteNonNumbers(t *testing.T) {
	for text, expected := range map[string]string{
		`[1,2]`:                           `[1,2]`,
		`[NaN,-Infinity, Infinity]`:       `["NaN","-Infinity", "Infinity"]`,
		`{"NaN":"a \" NaN","b\\":NaN}`:    `{"NaN":"a \" NaN","b\\":"NaN"}`,
		`["Infinity","\u004eaN",NaN`:      `["Infinity","\u004eaN","NaN"`,
		`"an end in an escape: NaN \`:     `"an end in an escape: NaN \`,
		`{"error":"the score was NaN :"}`: `{"error":"the score was NaN :"}`,
	} {
		assert.Equal(t, expected, string(quoteNonNumbers([]byte(text))))
	}
}

// FuzzAnswer reads answers of a server that may be anything.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"outputs":[{"name":"score","shape":[2,1],"data":[[1.5],[NaN]]}]}`), 2, -1)
	f.Add([]byte(`{"outputs":[{"name":"score","shape":[1,2],"data":[null,-Infinity]}]}`), 1, 1)
	f.Add([]byte(`{"error":"no"}`), 1, 0)
	f.Fuzz(func(t *testing.T, body []byte, n, column int) {
		if n < 1 || n > mostBatch || column < -1 {
			return
		}
		for _, k := range []*contract{{output: "score"}, {output: "score", single: []int64{3}, columns: 2}} {
			scores, err := k.scores(body, n, column)
			if err != nil {
				var known *failure
				require.ErrorAs(t, err, &known, "every failure has a reason")
				continue
			}
			require.Len(t, scores, n)
			for _, s := range scores {
				require.False(t, s.outcome == Scored && (math.IsNaN(s.value) || math.IsInf(s.value, 0)))
			}
		}
	})
}

// FuzzMetadata reads what a server says about its model.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"versions":["1"],"inputs":[{"name":"x","datatype":"FP32","shape":[-1,25]}],"outputs":[{"name":"s","shape":[-1,1]}]}`))
	f.Add([]byte(`{"inputs":[{"shape":[]}],"outputs":[{"shape":[-9,-9]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		config := DefaultConfig()
		if k, err := config.agree(text); err == nil {
			require.NotNil(t, k)
			require.GreaterOrEqual(t, k.columns, int64(0))
		}
	})
}
