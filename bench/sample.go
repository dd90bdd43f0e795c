// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import "slices"

// sample is what repetitions of one measurement gave.
type sample []float64

// quantile interpolates between the two nearest values; q is from 0 to 1. An empty
// sample has none and gives 0.
func (s sample) quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	position := q * float64(len(sorted)-1)
	below := int(position)
	if below == len(sorted)-1 {
		return sorted[below]
	}
	part := position - float64(below)
	return sorted[below]*(1-part) + sorted[below+1]*part
}

func (s sample) median() float64 { return s.quantile(0.5) }

// each returns the sample with a function applied to every value.
func (s sample) each(f func(float64) float64) sample {
	out := make(sample, len(s))
	for i, v := range s {
		out[i] = f(v)
	}
	return out
}

// ratios divides pair by pair; a pair without a divisor is left out.
func ratios(numerators, divisors sample) sample {
	var out sample
	for i := range min(len(numerators), len(divisors)) {
		if divisors[i] != 0 {
			out = append(out, numerators[i]/divisors[i])
		}
	}
	return out
}
