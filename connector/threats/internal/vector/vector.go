// SPDX-License-Identifier: Apache-2.0

// Package vector turns what records say about a source into a vector of numbers: one for each
// source and window of time. Every feature has a name, a meaning and a scale (features.go).
//
// No string of a client is in a vector, so that nobody can write instructions into one.
package vector

import "math"

// Vector has the features of a source in a window, unscaled: counts, shares from 0 to 1, seconds,
// bytes. A feature that was not read is NaN.
type Vector [Size]float64

// Scale scales a value of the feature: logarithmically, or not at all. NaN stays NaN.
func (f Feature) Scale(value float64) float64 {
	d := &features[f]
	value = max(0, value)
	if d.Logarithmic {
		value = math.Log1p(d.Factor * value)
	}
	return min(value, d.Limit())
}

// Scaled returns the vector with all features scaled.
func (v *Vector) Scaled() Vector {
	var scaled Vector
	for f := range v {
		scaled[f] = Feature(f).Scale(v[f])
	}
	return scaled
}
