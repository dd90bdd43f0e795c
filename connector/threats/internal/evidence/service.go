// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"cmp"
	"net/netip"
	"slices"
)

// Service is what the rules keep about a port that is listened on.
type Service struct {
	Last    int64
	Address netip.Addr
	Process string

	Flood Flood
	Harm  Harm
	// Open and OpenAnswered are of the last interval, Closed and ClosedAnswered fade.
	Open, OpenAnswered     float64
	Closed, ClosedAnswered float64
	// Prints is nil unless rare fingerprints are looked for.
	Prints *Prints
}

// Clone returns a copy that shares nothing.
func (s *Service) Clone() Service {
	c := *s
	c.Prints = s.Prints.clone()
	return c
}

// Namespace is what the rules keep about a network namespace of a host.
type Namespace struct {
	Last int64
	// Counters of the last intervals.
	Cookies, Drops, Embryonic, Overflows float64
	// Since is when the counters began.
	Since int64
	// Syn and Completed are what its sources did since its last record. Heard is set by a listener's
	// record, Own by one that counts SYNs. Flood is for a namespace where none does.
	Syn, Completed int64
	Heard, Own     bool
	Flood          Flood
	Top            Top
	Crowd          *Crowd
}

// Contributor is a source's share in the connections of some seconds.
type Contributor struct {
	Key     Key
	Address netip.Addr
	Count   float64
}

// maxContributors is how many sources are compared. Those below this part of the whole are left out:
// who has a fifth of the whole is far over them.
const (
	maxContributors = 64
	minorShare      = 256
)

// Share is what a source has completed in the stretch of time that began at Since.
type Share struct {
	Since int64
	Count float64
}

// Top has the sources with the most connections in a stretch of time. Each source's own count is
// exact, so that one that is not among the most costs no search.
type Top struct {
	Now, Before   []Contributor
	Since         int64
	Total, Former float64
	// least is the smallest count of a full Now.
	least float64
}

// Add counts n connections of a source.
func (t *Top) Add(at, stretch int64, key Key, address netip.Addr, n float64, share *Share) {
	if at-t.Since >= stretch {
		t.Now, t.Before = t.Before[:0], t.Now
		t.Total, t.Former = 0, t.Total
		t.Since, t.least = at, 0
	}
	if share.Since != t.Since {
		*share = Share{Since: t.Since}
	}
	share.Count += n
	t.Total += n
	if share.Count*minorShare < t.Total {
		return
	}
	if share.Count > t.least || len(t.Now) < maxContributors {
		t.put(Contributor{key, address, share.Count})
	}
}

// put takes in a source that is among the most.
func (t *Top) put(c Contributor) {
	least := 0
	at := -1
	for i := range t.Now {
		if t.Now[i].Key == c.Key {
			at = i
			break
		}
		if t.Now[i].Count < t.Now[least].Count {
			least = i
		}
	}
	switch {
	case at >= 0:
		t.Now[at].Count = c.Count
	case len(t.Now) < maxContributors:
		t.Now = append(t.Now, c)
	default:
		t.Now[least] = c
	}
	if len(t.Now) == maxContributors {
		t.least = slices.MinFunc(t.Now, func(a, b Contributor) int { return cmp.Compare(a.Count, b.Count) }).Count
	}
}

// Far returns the sources whose count is far over the median of the others, and at least a fifth
// of the whole, those with the most first.
func (t *Top) Far(times float64) []Contributor {
	all, total := t.Now, t.Total
	if t.Former > total {
		all, total = t.Before, t.Former
	}
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b Contributor) int {
		switch {
		case a.Count > b.Count:
			return -1
		case a.Count < b.Count:
			return 1
		}
		return a.Address.Compare(b.Address)
	})
	const least = 0.2
	end := 0
	for end < len(sorted) {
		others := sorted[end+1:]
		median := 0.0
		if len(others) > 0 {
			median = others[len(others)/2].Count
		}
		if sorted[end].Count < least*total || sorted[end].Count < times*median {
			break
		}
		end++
	}
	return sorted[:end]
}
