// SPDX-License-Identifier: Apache-2.0

package evidence

// maxPrints is how many fingerprints of a service are counted.
const maxPrints = 128

// printsFade is the number of handshakes at which all counts are halved, so that what became rare
// is rare.
const printsFade = 1 << 20

// Print is a fingerprint, by its hash, and how many handshakes had it at most.
type Print struct {
	Hash  uint64
	Count uint32
}

// Prints counts the fingerprints of a service's clients. Over its size the least is displaced and
// its count inherited (space-saving), so that no count is too low and a common fingerprint is never
// taken for a rare one.
type Prints struct {
	All   []Print
	Total uint64
}

// Add counts a handshake. It returns the share of its fingerprint, which is at most that much.
func (p *Prints) Add(hash uint64) float64 {
	if p.Total >= printsFade {
		p.fade()
	}
	p.Total++
	least := -1
	for i := range p.All {
		if p.All[i].Hash == hash {
			p.All[i].Count++
			return float64(p.All[i].Count) / float64(p.Total)
		}
		if least < 0 || p.All[i].Count < p.All[least].Count {
			least = i
		}
	}
	count := uint32(1)
	if len(p.All) < maxPrints {
		p.All = append(p.All, Print{hash, count})
	} else {
		count += p.All[least].Count
		p.All[least] = Print{hash, count}
	}
	return float64(count) / float64(p.Total)
}

func (p *Prints) fade() {
	p.Total /= 2
	kept := p.All[:0]
	for _, print := range p.All {
		if print.Count /= 2; print.Count > 0 {
			kept = append(kept, print)
		}
	}
	p.All = kept
}

func (p *Prints) clone() *Prints {
	if p == nil {
		return nil
	}
	return &Prints{append([]Print(nil), p.All...), p.Total}
}
