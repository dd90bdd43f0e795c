// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"slices"
	"time"
)

// maxMany is how many are told apart.
const maxMany = 64

// Many are the identities that a source had requests denied for, or the sources of an identity,
// in a window of time. Those that are accepted later are not denied.
type Many struct {
	Since int64
	// Denied and Accepted are hashes.
	Denied, Accepted []uint32
	// Count is the evidence over the threshold.
	Count uint64
}

// See notes one. It tells whether it is denied for the first time.
func (m *Many) See(hash uint32, denied bool, at int64, window time.Duration) bool {
	if at-m.Since >= int64(window) {
		*m = Many{Since: at, Denied: m.Denied[:0], Accepted: m.Accepted[:0], Count: m.Count}
	}
	if slices.Contains(m.Accepted, hash) {
		return false
	}
	i := slices.Index(m.Denied, hash)
	switch {
	case !denied:
		if i >= 0 {
			m.Denied = slices.Delete(m.Denied, i, i+1)
		}
		if len(m.Accepted) < maxMany {
			m.Accepted = append(m.Accepted, hash)
		}
		return false
	case i >= 0 || len(m.Denied) >= maxMany:
		return false
	}
	m.Denied = append(m.Denied, hash)
	return true
}

// Reached tells whether so many were denied, and at least as many as were accepted.
func (m *Many) Reached(least int) bool {
	return len(m.Denied) >= least && len(m.Denied) >= len(m.Accepted)
}

func (m *Many) clone() *Many {
	if m == nil {
		return nil
	}
	c := *m
	c.Denied, c.Accepted = slices.Clone(m.Denied), slices.Clone(m.Accepted)
	return &c
}

// Identity is what the rules keep of a user or token whose requests were denied.
type Identity struct {
	Last int64
	// Sources are those of the requests; Named, prefixes of those that were denied.
	Sources Many
	Named   []string
	// Forged tells whether an address was a proxy's word.
	Forged bool
}

// WorthKeeping tells whether more than one source was denied with it.
func (i *Identity) WorthKeeping() bool { return len(i.Sources.Denied) > 1 }

// Clone returns a copy that shares nothing.
func (i *Identity) Clone() Identity {
	c := *i
	c.Sources = *i.Sources.clone()
	c.Named = slices.Clone(i.Named)
	return c
}
