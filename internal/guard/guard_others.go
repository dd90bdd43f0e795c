// SPDX-License-Identifier: Apache-2.0

//go:build !linux || !(amd64 || arm64)

package guard

import (
	"errors"
	"net/netip"
)

var errNotHere = errors.New("the guard needs Linux 5.10 or newer on amd64 or arm64")

// ErrFull can't happen here.
var ErrFull = errors.New("the guard has no room for another entry")

// Guard can't run here.
type Guard struct{}

// New fails: the programs are for Linux on amd64 and arm64.
func New(Options) (*Guard, error) { return nil, errNotHere }

// Start fails.
func (*Guard) Start() error { return errNotHere }

// States is empty.
func (*Guard) States() []State { return nil }

// Interfaces is empty.
func (*Guard) Interfaces() []string { return nil }

// Renew fails.
func (*Guard) Renew() error { return errNotHere }

// LetPass does nothing.
func (*Guard) LetPass() error { return nil }

// Holds is false.
func (*Guard) Holds() (bool, error) { return false, nil }

// Put fails.
func (*Guard) Put(netip.Prefix, Block) error { return errNotHere }

// Remove fails.
func (*Guard) Remove(netip.Prefix) (Counts, error) { return Counts{}, errNotHere }

// Counts fails.
func (*Guard) Counts(netip.Prefix) (Counts, error) { return Counts{}, errNotHere }

// Each has nothing to tell.
func (*Guard) Each(func(netip.Prefix, Counts)) error { return nil }

// Allow fails.
func (*Guard) Allow([]netip.Prefix) error { return errNotHere }

// Cut ends nothing.
func (*Guard) Cut() (int, error) { return 0, errNotHere }

// CutsBy is empty.
func (*Guard) CutsBy() (string, error) { return "", errNotHere }

// Totals are zero.
func (*Guard) Totals() (Totals, error) { return Totals{}, nil }

// Close does nothing.
func (*Guard) Close() error { return nil }
