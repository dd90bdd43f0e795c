// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

// point and line are what plots are made of.
type point struct{ X, Y float64 }

type line struct {
	Name   string
	Points []point
}
