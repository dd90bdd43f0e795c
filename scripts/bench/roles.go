// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

// roles are what this program does as a process of its own beside a measurement.
var roles = map[string]func([]string) error{}
