// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host

import "testing"

// BenchmarkFind is what a look at all processes costs, with those that this host has.
func BenchmarkFind(b *testing.B) {
	for b.Loop() {
		if _, err := (Sessions{}).Find(); err != nil {
			b.Fatal(err)
		}
	}
}
