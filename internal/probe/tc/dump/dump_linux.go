// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

// Package dump reads the kernel's lists of links, addresses, routes, qdiscs and filters, which
// may change while they are read.
package dump

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// maxReads bounds the readings of a list that changes meanwhile.
const maxReads = 5

// Settled repeats the reading of a list that changed meanwhile. It returns ErrDumpInterrupted
// if the list changed each time.
func Settled[T any](read func() ([]T, error)) (list []T, err error) {
	for range maxReads {
		if list, err = read(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return list, err
}

// Watched accepts a list that changed each time. Its changes are followed, so it will be read
// again.
func Watched[T any](read func() ([]T, error)) ([]T, error) {
	list, err := Settled(read)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil
	}
	return list, err
}
